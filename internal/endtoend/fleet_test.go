package endtoend

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/deploy"
	"apibuilder/internal/testenv"
	"apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
	"apibuilder/store/sqlite"
)

// fleet is how many APIs are deployed to the server at once, over a tenth of it in requirement sets (at least 3).
var fleet = flag.Int("fleet", 12, "APIs that TestFewEnvironmentsForManyAPIs deploys at once; 100 is the promise")

// versionsOfSix are sets of requirements that differ in one small package.
var versionsOfSix = []string{"1.17.0", "1.16.0", "1.15.0", "1.14.0", "1.13.0", "1.12.0", "1.11.0", "1.10.0", "1.9.0", "1.8.0"}

// ownDataDir is an empty data directory with the tools in it.
func ownDataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "apibuilder-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	testenv.DataDir(t, dir)
	return dir
}

// TestFewEnvironmentsForManyAPIs deploys many APIs over few sets of requirements, at once and to a server: one build for each
// set, and all serve. Then a thousand more are deployed over the same sets, without starting their programs: not one build more.
func TestFewEnvironmentsForManyAPIs(t *testing.T) {
	dir := ownDataDir(t)
	sets := versionsOfSix[:min(len(versionsOfSix), max(3, *fleet/10))]
	s := serve(t, dir, "--no-example")
	began := time.Now()
	var all sync.WaitGroup
	for i := range *fleet {
		all.Go(func() {
			version := sets[i%len(sets)]
			code := fmt.Sprintf("import six\nfrom fastapi import FastAPI\napp = FastAPI()\n"+
				"@app.get('/who')\ndef who():\n\treturn {'n': %d, 'six': six.__version__}\n", i)
			out, err := s.tryDeploy(fmt.Sprintf("fleet-%d", i), code, "six=="+version)
			var d deployed
			if err != nil || json.Unmarshal([]byte(out), &d) != nil {
				t.Errorf("deploy %d: %v %s", i, err, out)
				return
			}
			a, err := tryCall(context.Background(), http.MethodGet, d.URL+"/who", d.Key, nil)
			if want := fmt.Sprintf(`{"n":%d,"six":"%s"}`, i, version); err != nil || a.status != http.StatusOK || string(a.body) != want {
				t.Errorf("API %d: %d %s, %v; want %s", i, a.status, a.body, err, want)
			}
		})
	}
	all.Wait()
	t.Logf("%d deploys over %d sets took %.1f s", *fleet, len(sets), time.Since(began).Seconds())
	out, err := s.command("env", "list", "--json")
	var list struct {
		Environments []struct{ Users []string }
	}
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Environments) != len(sets) {
		t.Fatalf("%d environments for %d sets: %v %s", len(list.Environments), len(sets), err, out)
	}
	users := 0
	for _, e := range list.Environments {
		users += len(e.Users)
	}
	if users != *fleet {
		t.Errorf("%d APIs use the environments: %s", users, out)
	}
	s.stop()
	if !t.Failed() {
		aThousandAPIs(t, filepath.Join(dir, "envs"), sets)
	}
}

// aThousandAPIs deploys them with a store and a builder on the environments that are there.
func aThousandAPIs(t *testing.T, envs string, sets []string) {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	b := testenv.Builder(t, pythonenv.Config{Dir: envs})
	before, _, err := b.DiskBytes()
	if err != nil {
		t.Fatal(err)
	}
	d := deploy.New(st, b, nothingRuns{}, deploy.Policy{Defaults: store.Limits{MemoryBytes: 128 << 20, CPU: 1, Pids: 64}})
	const apis = 1000
	began := time.Now()
	for i := range apis {
		r, err := d.Deploy(t.Context(), deploy.Request{
			Name: fmt.Sprintf("api-%d", i), Code: "app = None\n", Requirements: "six==" + sets[i%len(sets)] + strings.Repeat(" ", i%7),
		})
		if err != nil || !r.Reused {
			t.Fatalf("deploy %d: %+v, %v", i, r, err)
		}
	}
	t.Logf("a deploy of a known environment took %s on average, without a start", time.Since(began)/apis)
	after, _, err := b.DiskBytes()
	if list, listErr := b.List(); listErr != nil || len(list) != len(sets) || err != nil || after-before > 1<<20 {
		t.Errorf("%d environments for %d sets, %d KiB more than before, %v, %v", len(list), len(sets), (after-before)>>10, err, listErr)
	}
}

// nothingRuns stands in for the sandboxes.
type nothingRuns struct{}

func (nothingRuns) Replace(ctx context.Context, _ sandbox.Spec, commit func(context.Context) error) (*sandbox.Instance, error) {
	return &sandbox.Instance{}, commit(ctx)
}

func (nothingRuns) Shift(ctx context.Context, _ string, _ []sandbox.Share, commit func(context.Context) error) error {
	return commit(ctx)
}

func (nothingRuns) EgressTurn() uint64 { return 0 }

func (nothingRuns) Remove(context.Context, string) error { return nil }
