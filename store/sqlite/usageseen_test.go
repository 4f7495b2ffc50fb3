package sqlite

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
	"time"
)

// TestSeenAgreesWithAMap: whatever order ids come in, as of requests that last, of clocks that are set and of servers that make others, those of the
// last keptSeen are known, and no other is taken for one.
func TestSeenAgreesWithAMap(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // to be the same each time
		s := seen{loaded: true, seed: maphash.MakeSeed()}
		added := map[string]int{} // when
		var all []string
		at := time.UnixMilli(1767323045123)
		for len(all) < 3*keptSeen {
			id := requestID(at.Add(-time.Duration(rng.ExpFloat64() * float64(time.Second))))
			switch rng.IntN(1000) {
			case 0:
				at = at.Add(time.Duration(rng.Int64N(int64(time.Hour))) - time.Hour/2)
			case 1:
				id = fmt.Sprint(rng.Uint64())
			case 2, 3, 4:
				if len(all) > 0 {
					id = all[max(0, len(all)-1-rng.IntN(2*keptSeen))]
				}
			}
			at = at.Add(40 * time.Microsecond)
			when, known := added[id]
			is := !s.add(id)
			if is && !known || !is && known && len(all)-when < keptSeen {
				t.Fatalf("seed %d: id %d, %s, is known: %t; added %t at %d", seed, len(all), id, is, known, when)
			}
			if !is {
				added[id] = len(all)
				all = append(all, id)
			}
		}
	}
}
