package egress

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// Tally is what was counted of one destination.
type Tally struct {
	Connections int64 `json:"connections"`
	Sent        int64 `json:"bytes_sent"`
	Received    int64 `json:"bytes_received"`
	Refused     int64 `json:"refused"`
}

// Entry is the tally of a destination by its name or address and port.
type Entry struct {
	To string `json:"to"`
	Tally
}

// Report is what an API's sandboxes reached since the server started.
type Report struct {
	Open int64 `json:"open"` // connections now
	Tally
	Destinations []Entry `json:"destinations,omitempty"` // the busiest first; at most 2*mostDestinations, and "others"
}

// mostDestinations are those that are counted by name, of allowed ones and of refused ones each: a program that tries many
// addresses pushes none out that it uses.
const mostDestinations = 64

const others = "others"

// account counts for one API. Its methods may be called concurrently.
type account struct {
	mu      sync.Mutex
	open    int64
	sum     Tally
	reached map[string]*Tally
	refused map[string]*Tally
	told    map[string]Tally // by take
}

func newAccount() *account {
	return &account{reached: map[string]*Tally{}, refused: map[string]*Tally{}, told: map[string]Tally{}}
}

func entryOf(m map[string]*Tally, to string) *Tally {
	t := m[to]
	if t == nil && len(m) >= mostDestinations {
		to = others
		t = m[to]
	}
	if t == nil {
		t = &Tally{}
		m[to] = t
	}
	return t
}

func (a *account) opened(to string) *Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := entryOf(a.reached, to)
	t.Connections++
	a.sum.Connections++
	a.open++
	return t
}

func (a *account) closed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
}

// moved counts bytes of a destination that opened returned.
func (a *account) moved(t *Tally, sent, received int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.Sent += int64(sent)
	t.Received += int64(received)
	a.sum.Sent += int64(sent)
	a.sum.Received += int64(received)
}

func (a *account) refuse(to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entryOf(a.refused, to).Refused++
	a.sum.Refused++
}

func (a *account) report() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := Report{Open: a.open, Tally: a.sum}
	all := a.totalsLocked()
	for _, to := range slices.Sorted(maps.Keys(all)) {
		r.Destinations = append(r.Destinations, Entry{to, all[to]})
	}
	slices.SortStableFunc(r.Destinations, func(a, b Entry) int {
		return cmp.Or(-cmp.Compare(a.Connections+a.Refused, b.Connections+b.Refused), cmp.Compare(a.To, b.To))
	})
	return r
}

// totalsLocked are the tallies by destination, whether it was reached or refused.
func (a *account) totalsLocked() map[string]Tally {
	all := map[string]Tally{}
	for _, m := range []map[string]*Tally{a.reached, a.refused} {
		for to, t := range m {
			all[to] = all[to].plus(*t)
		}
	}
	return all
}

// take returns what was counted since it was called last, by destination.
func (a *account) take() []Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	var fresh []Entry
	for to, t := range a.totalsLocked() {
		before := a.told[to]
		if t == before {
			continue
		}
		a.told[to] = t
		fresh = append(fresh, Entry{to, t.minus(before)})
	}
	slices.SortFunc(fresh, func(a, b Entry) int { return cmp.Compare(a.To, b.To) })
	return fresh
}

func (t Tally) plus(o Tally) Tally {
	return Tally{t.Connections + o.Connections, t.Sent + o.Sent, t.Received + o.Received, t.Refused + o.Refused}
}

func (t Tally) minus(o Tally) Tally {
	return Tally{t.Connections - o.Connections, t.Sent - o.Sent, t.Received - o.Received, t.Refused - o.Refused}
}
