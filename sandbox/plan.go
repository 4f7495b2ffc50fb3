package sandbox

import (
	"slices"
	"time"
)

// Plan says which versions of an API get its requests, and how many instances of them run.
type Plan struct {
	Shares []Share // at least one; their order says nothing
	Scale  Scale
}

// Share is the part of an API's requests that one version gets: its weight of the sum of all weights.
type Share struct {
	Version int
	Weight  int // at least 1
}

// Scale bounds how many instances of an API run at a time. In a split each version has its share of both bounds, but at least
// one instance.
type Scale struct {
	Min    int // run although nobody calls; 0: an API that nobody calls sleeps
	Max    int // 0: 1, and DefaultIsolated when Isolated; never less than Min
	Target int // requests in flight for each instance, above which one more is started; 0: none is
	// Isolated gives every request a sandbox that is fresh and ends after it. Max bounds how many there are at a time, those
	// that are ending included; Min are ready beforehand.
	Isolated bool
	// Drain is for requests in flight when an instance is taken out; 0: ManagerConfig.DrainTimeout. Stop waits no longer than its
	// context says.
	Drain time.Duration
}

// DefaultIsolated is how many requests an isolated API answers at a time when its scale does not say.
const DefaultIsolated = 8

// bounds are those of a version that has weight of all.
func (s Scale) bounds(weight, all int) (least, most int) {
	most = s.Max
	switch {
	case most == 0 && s.Isolated:
		most = DefaultIsolated
	case most == 0:
		most = 1
	}
	least, most = share(s.Min, weight, all), share(max(most, s.Min), weight, all)
	return least, max(most, 1)
}

// share is weight's part of n, rounded up.
func share(n, weight, all int) int {
	if all == 0 {
		return n
	}
	return (n*weight + all - 1) / all
}

// want is how many instances so many requests in flight want.
func (s Scale) want(inflight, least, most int) int {
	if s.Target <= 0 {
		return max(least, 1)
	}
	return min(max((inflight+s.Target-1)/s.Target, least, 1), most)
}

// Has reports whether a version gets requests.
func (p Plan) Has(version int) bool {
	return slices.ContainsFunc(p.Shares, func(s Share) bool { return s.Version == version })
}
