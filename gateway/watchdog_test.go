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
		note := func(time.Duration) time.Duration {
			fired = time.Since(begin)
			return 0
		}
		w := &watchdog{}
		w.start(time.Minute, 0, note)
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
		w = &watchdog{}
		w.start(time.Minute, 0, note)
		w.stop()
		w.moved()
		time.Sleep(time.Hour)
		synctest.Wait()
		if fired != 0 {
			t.Error("fired after stop")
		}
	})
}

func TestWatchdogEndsAtTheFinalTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var fired time.Duration
		w := &watchdog{}
		w.start(time.Minute, 90*time.Second, func(time.Duration) time.Duration {
			fired = time.Since(begin)
			return time.Hour
		})
		for range 9 {
			time.Sleep(10 * time.Second)
			w.moved()
		}
		synctest.Wait()
		if fired != 90*time.Second || w.allow(time.Hour) {
			t.Errorf("fired after %v", fired)
		}
		w.stop()
	})
}

func TestWatchdogAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var asked []time.Duration
		w := &watchdog{}
		w.start(time.Second, 0, func(idle time.Duration) time.Duration {
			asked = append(asked, time.Since(begin))
			return 3*time.Second - idle
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(asked) != 2 || asked[0] != time.Second || asked[1] != 3*time.Second {
			t.Errorf("asked after %v", asked)
		}
		w.stop()
	})
}
