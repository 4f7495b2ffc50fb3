package gateway

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineMovesOnlyWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Time
		d := deadline{set: func(at time.Time) error {
			told = append(told, at)
			return nil
		}}
		begin := time.Now()
		in := func(after time.Duration) time.Time { return begin.Add(after) }
		expect := func(what string, count int, last time.Time) {
			t.Helper()
			if len(told) != count || count > 0 && !told[count-1].Equal(last) {
				t.Fatalf("%s: told %v", what, told)
			}
		}
		_ = d.move(time.Time{})
		expect("none was and none is wanted", 0, time.Time{})
		_ = d.move(in(time.Second))
		expect("the first", 1, in(time.Second))
		_ = d.move(in(time.Minute))
		_ = d.move(time.Time{})
		_ = d.move(in(10 * time.Second))
		expect("to later", 1, in(time.Second))
		time.Sleep(time.Second)
		if !d.early() {
			t.Error("a timeout before the deadline counts")
		}
		expect("met too early", 2, in(10*time.Second))
		_ = d.move(in(5 * time.Second))
		expect("to sooner", 3, in(5*time.Second))
		time.Sleep(4 * time.Second)
		if d.early() {
			t.Error("a timeout at the deadline does not count")
		}
		_ = d.move(time.Time{})
		expect("none after it has passed", 3, in(5*time.Second))
		if !d.early() {
			t.Error("a timeout counts where none is wanted")
		}
		expect("met", 4, time.Time{})
		_ = d.move(in(0)) // in the past: now
		expect("at once", 5, in(0))
		if d.early() {
			t.Error("a deadline in the past is not early")
		}
		_ = d.move(in(time.Hour))
		expect("later after the past", 5, in(0))
		if !d.early() {
			t.Error("a timeout before the deadline counts")
		}
		expect("met too early again", 6, in(time.Hour))
	})
}
