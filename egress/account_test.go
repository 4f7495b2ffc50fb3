package egress

import (
	"fmt"
	"reflect"
	"testing"
)

// TestTake tells what was counted exactly once, what was counted of a deleted API and in connections that are open too.
func TestTake(t *testing.T) {
	gate := NewGate(Config{})
	if uses := gate.Take(); len(uses) > 0 {
		t.Errorf("of nothing: %+v", uses)
	}
	gate.Set("a", Policy{})
	gate.Set("b", Policy{})
	a, b := gate.apis["a"].account, gate.apis["b"].account
	flow := a.opened("x:443")
	a.moved(flow, 3, 4)
	b.refuse("y")
	want := []Use{{"a", Entry{"x:443", Tally{1, 3, 4, 0}}}, {"b", Entry{"y", Tally{0, 0, 0, 1}}}}
	if uses := gate.Take(); !reflect.DeepEqual(uses, want) {
		t.Errorf("%+v", uses)
	}
	if uses := gate.Take(); len(uses) > 0 {
		t.Errorf("a second time: %+v", uses)
	}
	a.moved(flow, 1, 0)
	a.refuse("x:443")
	b.refuse("y")
	gate.Forget("b")
	gate.Forget("never there")
	want = []Use{{"b", Entry{"y", Tally{0, 0, 0, 1}}}, {"a", Entry{"x:443", Tally{0, 1, 0, 1}}}}
	if uses := gate.Take(); !reflect.DeepEqual(uses, want) {
		t.Errorf("later: %+v", uses)
	}
	for i := range 10 * mostDestinations {
		a.refuse(fmt.Sprint("tried-", i))
	}
	uses, sum := gate.Take(), int64(0)
	for _, u := range uses {
		sum += u.Refused
	}
	if len(uses) != mostDestinations || sum != 10*mostDestinations { // x:443, the first ones, and others
		t.Errorf("%d destinations, %d refusals", len(uses), sum)
	}
	if total := a.report(); total.Sent != 4 || total.Refused != 1+10*mostDestinations {
		t.Errorf("what Report tells has changed: %+v", total.Tally)
	}
}
