// Package wake_test measures how long a consumer waits for an API that sleeps, through the whole server, against starting
// plain uvicorn with the same program and packages, without a sandbox, in the same run.
package wake_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/internal/testenv"
)

const (
	hello = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root():\n    return {'hello': 'world'}\n"
	// pause is for how long the server must have made no further warm sandbox, so that none is being made while it is measured.
	pause = 3 * time.Second
	// patience is for the making of warm sandboxes.
	patience = 5 * time.Minute
)

// program is what is woken.
type program struct{ name, code, requirements string }

// BenchmarkWake wakes each program b.N times and starts it plainly as often, in turns. Each has a warm sandbox then.
func BenchmarkWake(b *testing.B) {
	wake(b, nil, program{"hello", hello, ""}, program{"pandas", "import numpy, pandas\n" + hello, "pandas\n"})
}

// BenchmarkCold is BenchmarkWake where no warm sandbox is kept.
func BenchmarkCold(b *testing.B) {
	wake(b, []string{"--warm-memory", "none"}, program{"hello", hello, ""})
}

func wake(b *testing.B, options []string, programs ...program) {
	b.Helper()
	dir, err := os.MkdirTemp("", "apibuilder-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := serve(b, dir, append(options, "--start-timeout", patience.String()))
	for _, c := range programs {
		url, key := s.deploy(b, c.name, c.code, c.requirements)
		env := testenv.Environment(b, c.requirements, "")
		b.Run(c.name, func(b *testing.B) {
			var woken, plain []time.Duration
			for b.Loop() {
				s.command(b, "apis", "sleep", c.name)
				if options == nil {
					s.awaitWarm(b)
				}
				woken = append(woken, timed(b, http.DefaultClient, url+"/", key))
				plain = append(plain, uvicorn(b, dir, env.Path, c.code))
			}
			report(b, woken, plain)
		})
	}
}

func report(b *testing.B, woken, plain []time.Duration) {
	b.Helper()
	b.Logf("woken, in their order: %v", woken)
	slices.Sort(woken)
	slices.Sort(plain)
	p50, p99, peer := at(woken, 0.5), at(woken, 0.99), at(plain, 0.5)
	b.ReportMetric(ms(p50), "ms/wake")
	b.ReportMetric(float64(p50)/float64(peer), "wake/uvicorn")
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\nwoken p50 %.1f ms, p99 %.1f ms; plain uvicorn p50 %.1f ms; ratio %.3f; %d rounds, %d cores, load %s",
		ms(p50), ms(p99), ms(peer), float64(p50)/float64(peer), len(woken), runtime.NumCPU(), load)
}

// at is a percentile by nearest rank.
func at(sorted []time.Duration, p float64) time.Duration {
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timed is how long an answer takes over a connection of its own.
func timed(b *testing.B, c *http.Client, url, key string) time.Duration {
	b.Helper()
	began := time.Now()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Close = true
	req.Header.Set("X-API-Key", key)
	resp, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
	}
	return time.Since(began)
}

// uvicorn starts the program plainly and waits for its first answer.
func uvicorn(b *testing.B, dir, env, code string) time.Duration {
	b.Helper()
	if err := os.WriteFile(filepath.Join(dir, "plain.py"), []byte(code), 0o600); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(dir, "plain.sock")
	_ = os.Remove(socket)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		for {
			if c, err := d.DialContext(ctx, "unix", socket); err == nil || ctx.Err() != nil {
				return c, err
			}
			time.Sleep(500 * time.Microsecond)
		}
	}}}
	began := time.Now()
	cmd := exec.CommandContext(b.Context(), filepath.Join(env, "bin/python"), "-m", "uvicorn", "--uds", socket, "--log-level", "error", "plain:app")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	timed(b, client, "http://plain/", "")
	took := time.Since(began)
	_ = cmd.Process.Signal(unix.SIGTERM)
	_ = cmd.Wait()
	return took
}

// server is a real one, in a process of its own.
type server struct{ binary, dir string }

func serve(b *testing.B, dir string, options []string) *server {
	b.Helper()
	s := &server{binary: filepath.Join(dir, "apibuilder"), dir: filepath.Join(dir, "data")}
	if err := os.Chmod(dir, 0o711); err != nil {
		b.Fatal(err)
	}
	testenv.Binary(b, s.binary)
	testenv.DataDir(b, s.dir)
	args := []string{"serve", "--json", "--no-example", "--listen", "127.0.0.1:0", "--data-dir", s.dir}
	cmd := exec.CommandContext(b.Context(), s.binary, append(args, options...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		b.Fatal("the server is not ready")
	}
	return s
}

// awaitWarm waits until there are warm sandboxes, and no more of them come.
func (s *server) awaitWarm(b *testing.B) {
	b.Helper()
	deadline, since, before := time.Now().Add(patience), time.Now(), 0
	for before == 0 || time.Since(since) < pause {
		if time.Now().After(deadline) {
			b.Fatalf("no warm sandbox within %v", patience)
		}
		time.Sleep(pause / 20)
		if n := s.warm(b); n != before {
			since, before = time.Now(), n
		}
	}
}

// warm is how many there are, as the server tells on its metrics page.
func (s *server) warm(b *testing.B) int {
	b.Helper()
	client := &http.Client{Transport: testenv.UnixTransport(filepath.Join(s.dir, admin.SocketName))}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://server/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("metrics: status %d, %v: %s", resp.StatusCode, err, text)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "apibuilder_warm_sandboxes "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("the metrics have no apibuilder_warm_sandboxes")
	return 0
}

func (s *server) command(b *testing.B, args ...string) []byte {
	b.Helper()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(b.Context(), s.binary, append(args, "--data-dir", s.dir, "--json")...)
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		b.Fatalf("%q: %v: %s%s", args, err, out.Bytes(), log.Bytes())
	}
	return out.Bytes()
}

func (s *server) deploy(b *testing.B, name, code, requirements string) (url, key string) {
	b.Helper()
	dir := b.TempDir()
	app, list := filepath.Join(dir, "app.py"), filepath.Join(dir, "requirements.txt")
	for path, text := range map[string]string{app: code, list: requirements} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var result struct{ URL, Key string }
	if err := json.Unmarshal(s.command(b, "deploy", app, "-r", list, "--name", name), &result); err != nil {
		b.Fatal(err)
	}
	return result.URL, result.Key
}
