package shared

import (
	"testing"
	"time"

	"apibuilder/ratelimit"
)

// TestALeaseThatEndsBeforeAnOlderOne as when answers were late and no longer are: it is used first, and nothing of it counts when it has ended.
func TestALeaseThatEndsBeforeAnOlderOne(t *testing.T) {
	p := newPool(name{"key", "k"}, ratelimit.Limit{Requests: 100, Per: 10 * time.Second}, 0)
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	p.grant(Ask{Valid: 2 * time.Second, Want: 10}, Grant{Granted: 10, Left: 1}, 0, at(10))
	p.grant(Ask{Valid: time.Second, Want: 5}, Grant{Granted: 5, Left: 1}, at(500), at(510))
	if n := p.holds(at(600)); n != 15 {
		t.Fatalf("%d permits", n)
	}
	p.take(at(600))
	if n := p.holds(at(1600)); n != 10 {
		t.Errorf("%d permits when the shorter lease has ended", n)
	}
	if n := p.holds(at(2000)); n != 0 {
		t.Errorf("%d permits when both have", n)
	}
}
