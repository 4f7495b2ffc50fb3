package sandbox

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sickFirst plays a program whose first instance is soon unhealthy and whose others take half a minute to start.
func sickFirst(born *atomic.Int64) func(order, *fakeSandbox) {
	return func(o order, s *fakeSandbox) {
		first := born.Add(1) == 1
		if !first && o.RootPath != "/new" {
			time.Sleep(25 * time.Second)
		}
		began := time.Now()
		s.serve(o, func(w http.ResponseWriter, r *http.Request) {
			if first && time.Since(began) > time.Second {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}
}

// A deploy lets the requests of an instance end that was about to be replaced because it is not well.
func TestADeployDuringASuccessionBreaksNothingOff(t *testing.T) {
	var born atomic.Int64
	managed(t, sickFirst(&born), func(t *testing.T, m *Manager, d *fakeDriver) {
		l := acquire(t, m, "api_a")
		time.Sleep(10 * time.Second)
		if d.launches() != 2 {
			t.Fatalf("%d launches: no successor starts", d.launches())
		}
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2, RootPath: "/new"}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if l.ended() {
			t.Errorf("its request was broken off: %+v", l.Instance.Exit())
		}
		l.Release()
		time.Sleep(time.Minute) // the start that was given up ends
	}, asked)
}

// A program that is put to sleep while its successor starts stays asleep.
func TestASuccessorIsNotWhatWakes(t *testing.T) {
	var born atomic.Int64
	managed(t, sickFirst(&born), func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		time.Sleep(10 * time.Second)
		if !m.Sleep("api_a") || d.launches() != 2 {
			t.Fatalf("%d launches", d.launches())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.Running("api_a") || d.count() != 0 {
			t.Errorf("%d run of a program that was put to sleep", d.count())
		}
	}, asked)
}
