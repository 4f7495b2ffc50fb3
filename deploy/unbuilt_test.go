package deploy

import (
	"testing"
	"time"

	"apibuilder/sandbox"
	"apibuilder/store"
)

func TestUnbuiltEnvironmentsAreHeldOff(t *testing.T) {
	now := time.Now()
	v, other := store.Version{APIID: "api_a", Number: 3}, store.Version{APIID: "api_a", Number: 4}
	for _, c := range []struct{ took, pause time.Duration }{
		{time.Second, unbuiltPause}, {time.Minute, 3 * time.Minute}, {time.Hour, unbuiltPauseMost},
	} {
		var u unbuilt
		if u.check(v, now) != nil {
			t.Fatal("held before it failed")
		}
		u.failed(v, now, c.took, sandbox.Exit{Reason: sandbox.SandboxFailed})
		until := now.Add(c.pause)
		if exit := u.check(v, until.Add(-1)); exit == nil || exit.Reason != sandbox.SandboxFailed || !exit.RetryAt.Equal(until) {
			t.Errorf("after a build of %v: %v", c.took, exit)
		}
		if u.check(other, now) != nil || u.check(v, until) != nil || len(u.held) != 0 {
			t.Errorf("after a build of %v, too much is held: %v", c.took, u.held)
		}
	}
}

// Nobody may ask again for one whose API was deleted.
func TestUnbuiltEnvironmentsAreForgotten(t *testing.T) {
	now := time.Now()
	var u unbuilt
	for n := range 10 {
		u.failed(store.Version{APIID: "api_a", Number: n}, now, time.Second, sandbox.Exit{Output: "long"})
		now = now.Add(unbuiltPause / 2)
	}
	if len(u.held) != 2 {
		t.Errorf("%d are held, of which 2 count", len(u.held))
	}
}
