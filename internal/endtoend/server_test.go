// Package endtoend tests the built binary as its users meet it: an operator who starts a server, an author who deploys,
// a consumer who calls. Everything is real: nsjail, uvicorn, environments from the package index, HTTP over loopback.
package endtoend

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/internal/testenv"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "apibuilder-endtoend-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "apibuilder")
	build := exec.Command("go", "build", "-o", binary, "apibuilder")
	if os.Getenv("APIBUILDER_TEST_RACE") != "" {
		build = exec.Command("go", "build", "-race", "-o", binary, "apibuilder")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Setenv("APIBUILDER_START_TIMEOUT", "5m") // a start takes as long as others leave it no processor
	code := pgtest.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is one running `apibuilder serve`.
type server struct {
	enter   []string // how to run it in another network namespace; empty: in the test's
	program string   // another build of the program; empty: the usual one
	env     []string // more variables of its environment
	t       *testing.T
	dataDir string
	url     string
	cmd     *exec.Cmd
	stderr  *bytes.Buffer
	ready   map[string]any
}

// dataDir empties the data directory that the tests of this package use one after the other, but for what tests of other
// packages use at the same time: the tools, the environments, what jails see, and files that are locked.
func dataDir(t *testing.T) string {
	t.Helper()
	testenv.Tools(t)
	entries, err := os.ReadDir(testenv.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"tools", "envs", "runner"}, e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			if err := os.RemoveAll(filepath.Join(testenv.Dir(), e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return testenv.Dir()
}

// serve starts a server and waits for its line. It is stopped with SIGTERM at the test's end and must end well.
func serve(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dataDir: dir}
	s.start(append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	return s
}

// start runs the server and waits for its line.
func (s *server) start(args ...string) {
	s.t.Helper()
	argv := append(append(slices.Clone(s.enter), cmp.Or(s.program, binary), "serve", "--json", "--data-dir", s.dataDir), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	if len(s.env) > 0 {
		cmd.Env = append(os.Environ(), s.env...)
	}
	s.startBy(cmd)
}

// serveBy starts a server by a command of the test's own.
func serveBy(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, dataDir: dir}
	s.startBy(cmd)
	return s
}

func (s *server) startBy(cmd *exec.Cmd) {
	t := s.t
	t.Helper()
	log := &bytes.Buffer{}
	s.cmd, s.stderr = cmd, log
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() { // each process's own: s may have been started again since
			t.Logf("log of the server with pid %d:\n%s", cmd.Process.Pid, log)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		t.Fatalf("the server did not say that it is ready: %v\n%s", err, s.stderr)
	}
	if err := json.Unmarshal(line, &s.ready); err != nil {
		t.Fatalf("the server's line %q: %v", line, err)
	}
	if s.ready["event"] != "ready" {
		t.Fatalf("the server printed %s", line)
	}
	s.url, _ = s.ready["url"].(string)
}

// stop ends the server in order; it may be called again.
func (s *server) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(90*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v:\n%s", err, s.stderr)
	}
	if strings.Contains(s.stderr.String(), `"msg":"panic"`) {
		s.t.Error("the server panicked")
	}
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

// command runs another command against this server and returns its standard output.
func (s *server) command(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.Command(binary, append(args, "--data-dir", s.dataDir)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("apibuilder %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), err
}

// usageTotal is how many usage records there are.
func (s *server) usageTotal() int64 {
	s.t.Helper()
	out, err := s.command("usage", "--json")
	if err != nil {
		s.t.Fatal(err)
	}
	var usage struct{ Total int64 }
	if err := json.Unmarshal([]byte(out), &usage); err != nil {
		s.t.Fatalf("%q: %v", out, err)
	}
	return usage.Total
}

// deployed is the answer of `apibuilder deploy --json`.
type deployed struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	URL     string `json:"url"`
	Key     string `json:"key"`
}

// deploy deploys code under a name and fails the test when that fails.
func (s *server) deploy(name, code, requirements string, args ...string) deployed {
	s.t.Helper()
	out, err := s.tryDeploy(name, code, requirements, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	var d deployed
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		s.t.Fatalf("deploy printed %q: %v", out, err)
	}
	return d
}

func (s *server) tryDeploy(name, code, requirements string, args ...string) (string, error) {
	s.t.Helper()
	dir := s.t.TempDir()
	app, reqs := filepath.Join(dir, "app.py"), filepath.Join(dir, "requirements.txt")
	for file, text := range map[string]string{app: code, reqs: requirements} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.command(append([]string{"deploy", app, "-r", reqs, "--name", name, "--json"}, args...)...)
}

// sample is a file of testdata/apis.
func sample(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "apis", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) problem() string {
	var p struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(a.body, &p)
	return p.Type
}

// call sends a request; the key goes where consumers put it.
func call(t *testing.T, method, url, key string, body io.Reader, header ...string) answer {
	t.Helper()
	a, err := tryCall(t.Context(), method, url, key, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

func tryCall(ctx context.Context, method, url, key string, body io.Reader, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("X-API-Key", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, data}, err
}

// get asks for a path of an API and wants a 200.
func (d deployed) get(t *testing.T, path string) answer {
	t.Helper()
	a := call(t, http.MethodGet, d.URL+path, d.Key, nil)
	if a.status != http.StatusOK {
		t.Fatalf("GET %s: status %d: %s", path, a.status, a.body)
	}
	return a
}
