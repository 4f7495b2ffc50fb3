package egress

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Bounds of what Sums says of what was reached, and of what was refused as much again.
const (
	mostTold  = 20      // destinations by name
	toldBytes = 2 << 10 // for their names and numbers: a program may choose long names
)

// sums are what one sandbox reached and was refused since that was told, by as many destinations as an account has.
type sums struct{ reached, refused map[string]*Tally }

func newSums() sums { return sums{reached: map[string]*Tally{}, refused: map[string]*Tally{}} }

func (s sums) opened(to string) { entryOf(s.reached, to).Connections++ }

func (s sums) refuse(to string) { entryOf(s.refused, to).Refused++ }

// settle counts what a flow has moved since it was settled last.
func (s sums) settle(f *flow) {
	moved := Tally{Sent: f.sent.Swap(0), Received: f.received.Swap(0)}
	if moved != (Tally{}) {
		t := entryOf(s.reached, f.to.String())
		*t = t.plus(moved)
	}
}

// Sums says for the program's author what it reached and was refused since Sums said so last, or since Bind: one line without a line
// feed, of some 4 KiB at most, the busiest destinations first. It is empty when that is nothing.
func (g *Guard) Sums() string {
	g.mu.Lock()
	for f := range g.flows {
		g.sums.settle(f)
	}
	s := g.sums
	g.sums = newSums()
	g.mu.Unlock()
	var parts []string
	if len(s.reached) > 0 {
		parts = append(parts, "reached "+listed(s.reached, Tally.moved))
	}
	if len(s.refused) > 0 {
		parts = append(parts, "refused "+listed(s.refused, Tally.refusals))
	}
	return strings.Join(parts, "; ")
}

// listed names destinations, each with what say says of it, and adds up those that are not named.
func listed(tallies map[string]*Tally, say func(Tally) string) string {
	entries := busiest(tallies)
	var b strings.Builder
	named := 0
	for _, e := range entries {
		next := fmt.Sprintf("%s (%s)", e.To, say(e.Tally))
		if named == mostTold || b.Len()+len(next) > toldBytes {
			break
		}
		if named++; named > 1 {
			b.WriteString(", ")
		}
		b.WriteString(next)
	}
	if named == len(entries) {
		return b.String()
	}
	least := ""
	if folded(tallies) {
		least = "at least "
	}
	var rest Tally
	for _, e := range entries[named:] {
		rest = rest.plus(e.Tally)
	}
	fmt.Fprintf(&b, " and %s%d more (%s)", least, len(entries)-named, say(rest))
	return b.String()
}

// busiest orders destinations, with those that have no name of their own at the end.
func busiest(tallies map[string]*Tally) []Entry {
	var entries []Entry
	for to, t := range tallies {
		entries = append(entries, Entry{to, *t})
	}
	last := func(e Entry) int {
		if e.To == others && folded(tallies) {
			return 1
		}
		return 0
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), -cmp.Compare(a.Connections+a.Refused, b.Connections+b.Refused),
			-cmp.Compare(a.Sent+a.Received, b.Sent+b.Received), cmp.Compare(a.To, b.To))
	})
	return entries
}

// folded reports whether there were more destinations than are counted by name.
func folded(tallies map[string]*Tally) bool { return len(tallies) > mostDestinations }

// moved is what the line says of what was reached.
func (t Tally) moved() string {
	connections := counted(t.Connections, "connection")
	if t.Connections == 0 {
		connections = "no new connection" // one that was there before moves something
	}
	return fmt.Sprintf("%s, %s sent, %s received", connections, amount(t.Sent), amount(t.Received))
}

// refusals is what the line says of what was refused.
func (t Tally) refusals() string { return counted(t.Refused, "time") }

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// amount writes bytes in a unit that suits them.
func amount(bytes int64) string {
	if bytes < 1<<10 {
		return counted(bytes, "byte")
	}
	size, unit := float64(bytes)/(1<<10), 0
	for ; size >= 1<<10 && unit < len("KMGTPE")-1; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTPE"[unit])
}
