package gateway

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var fired time.Duration
		w := newWatchdog(time.Minute, func() { fired = time.Since(begin) })
		time.Sleep(59 * time.Second)
		w.moved()
		time.Sleep(59 * time.Second)
		if !w.allow(time.Hour) {
			t.Error("it ran out early")
		}
		time.Sleep(59 * time.Minute)
		w.moved()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if want := 2*59*time.Second + 59*time.Minute + time.Hour; fired != want {
			t.Errorf("fired after %v, want %v", fired, want)
		}
		if w.allow(time.Hour) {
			t.Error("it may go on after it ran out")
		}
		w.moved()
		w.stop()

		fired = 0
		w = newWatchdog(time.Minute, func() { fired = time.Since(begin) })
		w.stop()
		w.moved()
		time.Sleep(time.Hour)
		synctest.Wait()
		if fired != 0 {
			t.Error("fired after stop")
		}
	})
}
