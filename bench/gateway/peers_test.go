package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/internal/testenv"
)

const (
	testKey = "ab_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	apiName = "bench"
)

// peer is one way to the program.
type peer struct {
	name      string
	url       string // what stands before the path
	second    string // the same for HTTP/2 by prior knowledge; empty: none
	key       string
	pids      []int // whose CPU time counts
	program   []int // the process of the program behind it, if it is the one that all have
	smallOnly bool
}

// ground is what all peers stand on.
type ground struct {
	b       *testing.B
	dir     string
	env     string // packages for Python
	socket  string // of the program
	Dir     string // for templates
	Key     string
	Socket  string
	Address string
	Second  string // the address for HTTP/2
}

func newGround(b *testing.B) *ground {
	b.Helper()
	dir, err := os.MkdirTemp("", "apibuilder-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(dir, "program.sock")
	g := &ground{
		b: b, dir: dir, socket: socket, Dir: dir, Key: testKey, Socket: socket,
		env: testenv.Environment(b, "httpx\n", "").Path,
	}
	return g
}

// wants reports whether a peer was asked for.
func wants(name string) bool { return *only == "" || slices.Contains(strings.Split(*only, ","), name) }

// startPeers starts all that were asked for. The direct way is the program without a proxy.
func startPeers(b *testing.B) []*peer {
	b.Helper()
	g := newGround(b)
	var peers []*peer
	add := func(p *peer) {
		if p != nil {
			peers = append(peers, p)
		}
	}
	direct := freeAddress(b)
	program := g.python("program.py", "app.py", g.socket, direct).Process.Pid
	waitFor(b, "http://"+direct+"/json", "")
	add(&peer{name: "no proxy", url: "http://" + direct})
	for _, name := range []string{"nginx", "haproxy", "caddy"} {
		if wants(name) {
			add(g.native(name))
		}
	}
	for _, role := range []string{"reverseproxy", "apibuilder"} {
		if wants(role) {
			add(g.child(role))
		}
	}
	if wants("replaced") {
		address := freeAddress(b)
		cmd := g.python("program.py", "replaced.py", "-", address)
		add(&peer{name: "replaced", url: "http://" + address + "/run/" + apiName, pids: []int{cmd.Process.Pid}, smallOnly: true})
	}
	if wants("sandbox") {
		add(g.whole())
	}
	for _, p := range peers {
		if p.key == "" {
			p.key = testKey
		}
		waitFor(b, p.url+"/json", p.key)
		p.settle()
		if !p.smallOnly && p.name != "apibuilder, sandbox" {
			p.program = []int{program}
		}
	}
	return peers
}

// settle finds the worker processes, which exist once an answer has come.
func (p *peer) settle() {
	for _, pid := range slices.Clone(p.pids) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil && p.name != "apibuilder, sandbox" {
				p.pids = append(p.pids, child)
			}
		}
	}
}

// native starts a proxy from a package, or from the Go module proxy.
func (g *ground) native(name string) *peer {
	g.b.Helper()
	binary, err := exec.LookPath(name)
	if name == "caddy" && err != nil {
		binary, err = buildCaddy(g.b)
	}
	if err != nil {
		fmt.Printf("%s is left out: %v\n", name, err)
		return nil
	}
	g.Address, g.Second = freeAddress(g.b), freeAddress(g.b)
	file := map[string]string{"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}[name]
	config := g.fill(file)
	args := map[string][]string{
		"nginx":   {"-c", config, "-e", filepath.Join(g.dir, "nginx.err")},
		"haproxy": {"-f", config},
		"caddy":   {"run", "--adapter", "caddyfile", "--config", config},
	}[name]
	cmd := g.start(exec.Command(binary, args...))
	const path = "/run/" + apiName
	return &peer{name: name, url: "http://" + g.Address + path, second: "http://" + g.Second + path, pids: []int{cmd.Process.Pid}}
}

// buildCaddy is done once; it takes minutes.
func buildCaddy(b *testing.B) (string, error) {
	dir := filepath.Join(testenv.Dir(), "bench")
	binary := filepath.Join(dir, "caddy")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	cmd := exec.CommandContext(b.Context(), "go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@latest")
	cmd.Dir, cmd.Env = os.TempDir(), append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build it: %w: %s", err, out)
	}
	return binary, nil
}

// child starts this test binary in another role.
func (g *ground) child(role string) *peer {
	g.b.Helper()
	address := freeAddress(g.b)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "BENCH_ADDRESS="+address, "BENCH_SOCKET="+g.socket,
		"BENCH_DIR="+g.dir, "BENCH_PROFILE="+*profile)
	g.start(cmd)
	url := "http://" + address + "/run/" + apiName
	return &peer{name: role, url: url, second: url, pids: []int{cmd.Process.Pid}}
}

// python runs a program of testdata with the packages, and the other arguments.
func (g *ground) python(program, app, socket, address string) *exec.Cmd {
	g.b.Helper()
	_, port, _ := net.SplitHostPort(address)
	return g.start(exec.Command(filepath.Join(g.env, "bin/python"), "-B", filepath.Join("testdata", program),
		filepath.Join("testdata", app), socket, port))
}

// start starts a process that ends with the benchmark.
func (g *ground) start(cmd *exec.Cmd) *exec.Cmd {
	g.b.Helper()
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		g.b.Fatal(err)
	}
	g.b.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
		defer timer.Stop()
		_ = cmd.Wait()
	})
	return cmd
}

func (g *ground) fill(name string) string {
	g.b.Helper()
	t, err := template.ParseFiles(filepath.Join("testdata", name))
	if err != nil {
		g.b.Fatal(err)
	}
	path := filepath.Join(g.dir, name)
	f, err := os.Create(path)
	if err != nil {
		g.b.Fatal(err)
	}
	defer f.Close()
	if err := t.Execute(f, g); err != nil {
		g.b.Fatal(err)
	}
	return path
}

func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitFor asks until there is an answer: none of the peers says when it is ready.
func waitFor(b *testing.B, url, key string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	for last := ""; ; time.Sleep(20 * time.Millisecond) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("X-API-Key", key)
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			res.Body.Close()
			if last = res.Status; res.StatusCode == http.StatusOK {
				return
			}
		}
		if ctx.Err() != nil {
			b.Fatalf("%s does not answer: %v %s", url, err, last)
		}
	}
}
