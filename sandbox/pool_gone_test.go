package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A warm sandbox sees the environment that it was started with. When that was pruned, and built again for a later deploy, it is
// of no use: its packages are gone.
func TestAWarmSandboxOfARemovedEnvironmentIsNotUsed(t *testing.T) {
	environment := filepath.Join(t.TempDir(), "env")
	if err := os.Mkdir(environment, 0o755); err != nil {
		t.Fatal(err)
	}
	mounted, err := os.Open(environment) // as the sandbox has it
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	managed(t, serveOK, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		settle()
		if m.Warm() != 1 {
			t.Fatalf("%d are warm", m.Warm())
		}
		if err := os.Remove(environment); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(environment, 0o755); err != nil {
			t.Fatal(err)
		}
		l := acquire(t, m, "api_b")
		if l.startup.Warm {
			t.Error("the sandbox with the old environment was used")
		}
		l.Release()
		settle()
		if m.Warm() != 1 || d.count() != 3 {
			t.Errorf("%d are warm, %d run", m.Warm(), d.count())
		}
		l = acquire(t, m, "api_c")
		if !l.startup.Warm {
			t.Error("there is none with the new environment")
		}
		l.Release()
	}, withWarm(1<<30), func(c *ManagerConfig) {
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Environment: environment}, nil
		}
	})
}
