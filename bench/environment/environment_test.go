// Package environment_test measures what building an environment costs against uv and pip alone, in the same run, with
// warm caches and the same packages.
package environment_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/python-env"
)

const requirements = "fastapi\nuvicorn[standard]\npillow\n"

// BenchmarkEnvironment builds the same environment b.N times in each way, in turns, and prints the ratios of the medians.
// Neither way asks the index: a build of ours resolves from the cache as well, which the others need not.
func BenchmarkEnvironment(b *testing.B) {
	dir, err := os.MkdirTemp("", "apibuilder-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		b.Fatal(err)
	}
	envs := filepath.Join(dir, "envs")
	online := testenv.Builder(b, pythonenv.Config{Dir: envs})
	request := pythonenv.Request{Requirements: requirements}
	env, err := online.Ensure(b.Context(), request)
	if err != nil {
		b.Fatal(err)
	}
	offline := testenv.Builder(b, pythonenv.Config{Dir: envs, Offline: true})
	lock := filepath.Join(dir, "lock.txt")
	if err := os.WriteFile(lock, []byte(env.Lock), 0o600); err != nil {
		b.Fatal(err)
	}
	p := peers{b: b, dir: dir, lock: lock, python: env.Interpreter.Path}
	p.uv(false) // fills its cache
	p.pip()
	took := map[string][]time.Duration{}
	for b.Loop() {
		took["ours"] = append(took["ours"], timed(func() {
			if err := os.RemoveAll(env.Path); err != nil {
				b.Fatal(err)
			}
		}, func() {
			if again, err := offline.Ensure(b.Context(), request); err != nil || again.Reused || again.Key != env.Key {
				b.Fatal(again.Key, again.Reused, err)
			}
		}))
		took["again"] = append(took["again"], timed(nil, func() {
			if again, err := offline.Ensure(b.Context(), request); err != nil || !again.Reused {
				b.Fatal(err)
			}
		}))
		took["uv"] = append(took["uv"], timed(nil, func() { p.uv(true) }))
		took["pip"] = append(took["pip"], p.pip())
	}
	ours, uv, pip := median(took["ours"]), median(took["uv"]), median(took["pip"])
	b.ReportMetric(float64(ours)/float64(uv), "ours/uv")
	b.ReportMetric(float64(pip)/float64(ours), "pip/ours")
	b.ReportMetric(float64(median(took["again"]).Microseconds())/1000, "ms/redeploy")
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\n%d packages, %d rounds, %d cores, load %s", strings.Count(env.Lock, "\n"), len(took["uv"]), runtime.NumCPU(), load)
	for _, name := range []string{"ours", "uv", "pip", "again"} {
		slices.Sort(took[name])
		fmt.Printf("%-6s median %8.1f ms, best %8.1f ms\n", name, ms(median(took[name])), ms(took[name][0]))
	}
	fmt.Printf("ours/uv %.2f (at most 1.3), pip/ours %.1f (at least 5), redeploy %.2f ms (below 5)\n",
		float64(ours)/float64(uv), float64(pip)/float64(ours), ms(median(took["again"])))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func timed(before, fn func()) time.Duration {
	if before != nil {
		before()
	}
	begin := time.Now()
	fn()
	return time.Since(begin)
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// peers are the tools alone, as root and without any jail.
type peers struct {
	b                 *testing.B
	dir, lock, python string
}

func (p peers) run(program string, args ...string) {
	p.b.Helper()
	cmd := exec.CommandContext(p.b.Context(), program, args...)
	cmd.Env = append(os.Environ(), "UV_CACHE_DIR="+filepath.Join(p.dir, "uv-cache"), "PIP_CACHE_DIR="+filepath.Join(p.dir, "pip-cache"))
	if out, err := cmd.CombinedOutput(); err != nil {
		p.b.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// uv makes the environment as somebody would by hand.
func (p peers) uv(offline bool) {
	p.b.Helper()
	venv := filepath.Join(p.dir, "uv-venv")
	if err := os.RemoveAll(venv); err != nil {
		p.b.Fatal(err)
	}
	uv := testenv.Tools(p.b).UV
	p.run(uv, "venv", "--quiet", "--python", p.python, venv)
	args := []string{"pip", "sync", "--compile-bytecode", "--require-hashes", "--python", filepath.Join(venv, "bin", "python"), p.lock}
	if offline {
		args = append(args, "--offline")
	}
	p.run(uv, args...)
}

// pip installs into an empty environment whose making is not timed.
func (p peers) pip() time.Duration {
	p.b.Helper()
	venv := filepath.Join(p.dir, "pip-venv")
	if err := os.RemoveAll(venv); err != nil {
		p.b.Fatal(err)
	}
	p.run(testenv.Tools(p.b).UV, "venv", "--quiet", "--seed", "--python", p.python, venv)
	return timed(nil, func() {
		p.run(filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", p.lock)
	})
}
