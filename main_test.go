package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"apibuilder/internal/pythontest"
	"apibuilder/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"apibuilder": main})
}

// TestScripts runs the command line against one real server, on real parts only. Each script uses APIs of its own names.
// Scripts that start servers of their own are in TestServerScripts.
func TestScripts(t *testing.T) {
	shared := newServer(t, newDataDir(t), "--admin-listen", "127.0.0.1:0")
	python310 := pythontest.Closed310(t, t.TempDir())
	runScripts(t, "cli/testdata/script", func(env *testscript.Env) error {
		env.Setenv("APIBUILDER_DATA_DIR", shared.dataDir)
		env.Setenv("URL", shared.ready.URL)
		env.Setenv("ADMIN", "http://"+shared.ready.AdminListen)
		env.Setenv("EXAMPLE_KEY", shared.ready.Example.Key)
		env.Setenv("PYTHON310", python310)
		return nil
	})
}

// TestServerScripts runs the scripts about starting and stopping servers.
func TestServerScripts(t *testing.T) {
	runScripts(t, "cli/testdata/server", func(env *testscript.Env) error {
		env.Setenv("DATA", newDataDir(env.T().(testing.TB)))
		return nil
	})
}

func runScripts(t *testing.T, dir string, setup func(*testscript.Env) error) {
	t.Helper()
	apis, err := filepath.Abs("testdata/apis")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands,
		Setup: func(env *testscript.Env) error {
			for _, kv := range os.Environ() {
				if name, value, _ := strings.Cut(kv, "="); name == "HOME" || isIndexSetting(name) {
					env.Setenv(name, value)
				}
			}
			env.Setenv("APIS", apis)
			return setup(env)
		},
	})
}

// isIndexSetting knows the environment variables by which an operator configures the package index.
func isIndexSetting(name string) bool {
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "PIP_") || strings.HasPrefix(upper, "UV_") || strings.HasSuffix(upper, "_PROXY") ||
		upper == "SSL_CERT_FILE" || upper == "REQUESTS_CA_BUNDLE"
}

// newDataDir makes a data directory that sandboxes can pass through, with the tools that other tests have fetched.
func newDataDir(t testing.TB) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "apibuilder-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o711); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "data")
	testenv.DataDir(t, dir)
	return dir
}
