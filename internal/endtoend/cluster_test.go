package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"apibuilder/internal/pgtest"
	"apibuilder/internal/testenv"
)

// cluster is three nodes in network namespaces of their own behind HAProxy, with the configuration of docs/nodes, and one
// PostgreSQL. The first node's clock is an hour fast, the last one's an hour slow.
type cluster struct {
	t      *testing.T
	hub    namespace
	db     *pgtest.Cluster
	url    string // of the database, from this process
	nodes  []*server
	clocks []*testenv.Clock // of the nodes
	client *http.Client     // from the hub
	args   []string
}

// versioned answers with its version.
func versioned(text string) string {
	return "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root(): return " + fmt.Sprintf("%q", text) + "\n"
}

// newCluster deploys what prepare does with a first node that has the network, because the others have none, and starts all.
func newCluster(t *testing.T, prepare func(first *server)) *cluster {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatalf("this test needs HAProxy (apt-get install haproxy): %v", err)
	}
	c := &cluster{t: t, hub: newNamespace(t)}
	c.hub.bridge(t, "10.0.0.1/24")
	c.db = pgtest.NewAt(t, c.hub.pid, "10.0.0.1")
	c.url = c.db.Database(t)
	name := c.url[strings.LastIndex(c.url, "/")+1 : strings.Index(c.url, "?")]
	root := openDir(t)
	file := filepath.Join(root, "url")
	write(t, file, c.url)
	base := filepath.Join(root, "node1")
	testenv.DataDir(t, base)
	first := serve(t, base, "--no-example", "--database-url-file", file)
	prepare(first)
	first.stop()
	write(t, file, c.db.Remote(name))
	shifted := filepath.Join(root, "apibuilder")
	testenv.ShiftedBinary(t, shifted)
	for i := 1; i <= 3; i++ {
		dir := filepath.Join(root, fmt.Sprintf("node%d", i))
		if i > 1 {
			run(t, "cp", "-a", base, dir)
			run(t, "rm", "-rf", filepath.Join(dir, "node"), filepath.Join(dir, "usage"))
		}
		n := newNamespace(t)
		n.join(t, c.hub, fmt.Sprintf("10.0.0.1%d/24", i))
		clock := testenv.NewClock(t)
		clock.Set(time.Duration(2-i) * time.Hour)
		c.clocks = append(c.clocks, clock)
		c.nodes = append(c.nodes, &server{t: t, enter: n.enter(), dataDir: dir, program: shifted, env: []string{clock.Env()}})
	}
	c.args = []string{"--no-example", "--database-url-file", file, "--drain-timeout", "10s", "--idle-timeout", "5s"}
	var starts sync.WaitGroup
	for i := range c.nodes {
		starts.Go(func() { c.start(i) })
	}
	starts.Wait()
	c.proxy()
	c.client = c.newClient()
	return c
}

// start starts a node, whether it ran before or not.
func (c *cluster) start(i int) {
	c.nodes[i].start(append([]string{"--listen", fmt.Sprintf("10.0.0.1%d:8080", i+1), "--node-name", fmt.Sprintf("node%d", i+1)}, c.args...)...)
}

// proxy starts HAProxy and waits until it has found all nodes.
func (c *cluster) proxy() {
	t := c.t
	t.Helper()
	config, err := filepath.Abs(filepath.Join("..", "..", "docs", "nodes", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	argv := append(c.hub.enter(), "haproxy", "-db", "-f", config)
	cmd := exec.Command(argv[0], argv[1:]...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("HAProxy:\n%s", &log)
		}
	})
}

func (c *cluster) newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: c.hub.dial, MaxIdleConnsPerHost: 64}, Timeout: time.Minute}
}

// attempt is one request as its consumer saw it.
type attempt struct {
	sent, received time.Time
	status         int
	id             string // empty: no node answered it
}

// call sends one request to an address in the hub.
func (c *cluster) call(host, key string) (a attempt, body string) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), http.MethodGet, "http://"+host, nil)
	if err != nil {
		c.t.Error(err)
		return a, ""
	}
	req.Header.Set("X-API-Key", key)
	a.sent = time.Now()
	resp, err := c.client.Do(req)
	a.received = time.Now()
	if err != nil {
		return a, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a.received = time.Now()
	if err == nil {
		a.status, a.id = resp.StatusCode, resp.Header.Get("X-Request-ID")
	}
	return a, string(text)
}

// load calls from several consumers at once until enough is true, and returns what they saw.
func (c *cluster) load(path, key string, consumers int, enough func(done int) bool) []attempt {
	var mu sync.Mutex
	var all []attempt
	var wg sync.WaitGroup
	for range consumers {
		wg.Go(func() {
			for {
				a, _ := c.call("10.0.0.1"+path, key)
				if a.id == "" {
					time.Sleep(10 * time.Millisecond) // no node is there: asking more often would only keep them from starting
				}
				mu.Lock()
				all = append(all, a)
				done := enough(len(all))
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	return all
}

// everywhere waits until each node answers as wanted, and returns how long that took.
func (c *cluster) everywhere(what, path, key string, want func(a attempt, body string) bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for i := range c.nodes {
		for {
			a, body := c.call(fmt.Sprintf("10.0.0.1%d:8080%s", i+1, path), key)
			if want(a, body) {
				break
			}
			if time.Since(began) > time.Minute {
				c.t.Fatalf("%s is not in force on node %d: %d %s", what, i+1, a.status, body)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return time.Since(began)
}

// openDir is a directory that sandboxes can pass through.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "apibuilder-nodes-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}
