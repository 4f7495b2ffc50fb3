package gateway

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var fired time.Duration
		note := expireFunc(func(time.Duration) time.Duration {
			fired = time.Since(begin)
			return 0
		})
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
		w.start(time.Minute, 90*time.Second, expireFunc(func(time.Duration) time.Duration {
			fired = time.Since(begin)
			return time.Hour
		}))
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
		w.start(time.Second, 0, expireFunc(func(idle time.Duration) time.Duration {
			asked = append(asked, time.Since(begin))
			return 3*time.Second - idle
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(asked) != 2 || asked[0] != time.Second || asked[1] != 3*time.Second {
			t.Errorf("asked after %v", asked)
		}
		w.stop()
	})
}

// TestWatchdogOfOneThingAfterTheOther: the timer of what was before is too early for one, and too late for another.
func TestWatchdogOfOneThingAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watchdog{}
		var fired []string
		begin := time.Now()
		start := func(name string, limit, final time.Duration) {
			w.start(limit, final, expireFunc(func(time.Duration) time.Duration {
				fired = append(fired, name+" "+time.Since(begin).String())
				return 0
			}))
		}
		at := func(after time.Duration) {
			time.Sleep(after - time.Since(begin))
			synctest.Wait()
		}
		start("stopped", time.Minute, 0)
		at(10 * time.Second)
		w.stop()
		start("later", time.Minute, 0)
		at(20 * time.Second)
		if age := w.age(); age != 10*time.Second {
			t.Errorf("its age is %v", age)
		}
		at(100 * time.Second)
		start("sooner", time.Hour, 0)
		w.stop()
		start("sooner", time.Second, 0)
		at(200 * time.Second)
		start("final", time.Hour, time.Minute)
		w.moved()
		at(300 * time.Second)
		start("kept", time.Hour, time.Minute)
		w.stop()
		start("without", 10*time.Minute, 0)
		at(20 * time.Minute)
		start("freed", time.Second, 0)
		w.free()
		at(time.Hour)
		if want := []string{"later 1m10s", "sooner 1m41s", "final 4m20s", "without 15m0s"}; !slices.Equal(fired, want) {
			t.Errorf("%v, want %v", fired, want)
		}
	})
}
