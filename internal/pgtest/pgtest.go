// Package pgtest gives tests a real PostgreSQL: a private cluster of the server that the distribution installs, on a Unix
// socket in a temporary directory, without fsync. The tests of a package share one, with a database each; a test that stops
// the server has a cluster of its own. It is imported by tests only.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser owns a cluster and every database in it.
const Superuser = "postgres"

// Cluster is one server with its data.
type Cluster struct {
	dir     string // data, and the socket
	port    int    // names the socket; on TCP too where tests ask for it
	bin     string
	account *syscall.Credential
	netns   int    // a process in whose network namespace it runs; 0: the test's
	address string // that it listens at; empty: none

	mu     sync.Mutex
	server *process // nil while it does not run
}

var (
	shared     *Cluster
	sharedErr  error
	sharedOnce sync.Once
	databases  atomic.Int64
)

// Main runs a package's tests and then ends the cluster that they shared. A TestMain returns what it returns to os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if shared != nil {
		shared.Stop()
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, "end the test's PostgreSQL:", err)
			return max(code, 1)
		}
	}
	return code
}

// Database makes an empty database in the package's cluster and returns its URL. Main ends the cluster.
func Database(t testing.TB) string {
	t.Helper()
	sharedOnce.Do(func() {
		if shared, sharedErr = newCluster(); sharedErr == nil {
			sharedErr = shared.Start()
		}
	})
	if sharedErr != nil {
		t.Fatalf("this test needs PostgreSQL 13 or later (apt-get install postgresql): %v", sharedErr)
	}
	return shared.Database(t)
}

// New starts a cluster of the test's own, which may be stopped and started again.
func New(t testing.TB) *Cluster {
	t.Helper()
	c, err := newCluster()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatalf("this test needs PostgreSQL 13 or later (apt-get install postgresql): %v", err)
	}
	t.Cleanup(func() {
		c.Stop()
		if err := os.RemoveAll(c.dir); err != nil {
			t.Error(err)
		}
	})
	return c
}

// NewAt is New with a server that listens at an address of the network namespace of a process too. Everybody who
// reaches that may connect.
func NewAt(t testing.TB, netns int, address string) *Cluster {
	t.Helper()
	c, err := newCluster()
	if err == nil {
		c.netns, c.address = netns, address
		err = appendTo(filepath.Join(c.dir, "data", "pg_hba.conf"), "host all all samenet trust\n")
	}
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatalf("this test needs PostgreSQL 13 or later (apt-get install postgresql): %v", err)
	}
	t.Cleanup(func() {
		c.Stop()
		os.RemoveAll(c.dir)
	})
	return c
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Remote is the URL of a database over TCP.
func (c *Cluster) Remote(database string) string {
	return fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", Superuser, c.address, c.port, database)
}

// Database makes an empty database and returns its URL.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	Exec(t, c.URL("postgres"), "CREATE DATABASE "+name)
	return c.URL(name)
}

// URL is that of a database in the cluster.
func (c *Cluster) URL(database string) string {
	q := url.Values{"host": {c.dir}, "port": {strconv.Itoa(c.port)}, "user": {Superuser}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// Dir holds the socket, of port Port.
func (c *Cluster) Dir() string { return c.dir }

// Port is part of the socket's name.
func (c *Cluster) Port() int { return c.port }

// Exec runs statements in a database.
func Exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// newCluster makes the data of one. It does not run yet.
func newCluster() (*Cluster, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "pgtest-") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, port: 5432, bin: bin}
	if err := c.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// find looks where Debian puts the server's programs, which are not on the PATH, and takes the newest.
func find() (string, error) {
	best, newest := "", -1
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // its pattern is valid
	for _, dir := range dirs {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err == nil && version > newest && executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			best, newest = dir, version
		}
	}
	if best != "" {
		return best, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// account is who runs the servers, because both refuse to run as root; nil where the test is not root.
func account() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nobody
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nobody
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nobody
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// init makes the data directory.
func (c *Cluster) init() error {
	if c.account = account(); c.account != nil {
		if err := os.Chown(c.dir, int(c.account.Uid), int(c.account.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(c.dir, 0o755); err != nil { //nolint:gosec // whoever connects
		return err
	}
	init := exec.CommandContext(context.Background(), filepath.Join(c.bin, "initdb"), "-D", filepath.Join(c.dir, "data"), "-U", Superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	init.Dir, init.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.account}
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// Start starts the server and returns when it takes connections.
func (c *Cluster) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		return errors.New("start PostgreSQL: it runs")
	}
	argv := []string{
		filepath.Join(c.bin, "postgres"), "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=" + c.address, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200",
		"-c", "autovacuum_naptime=1h", "-c", "deadlock_timeout=100ms",
	}
	attr := &syscall.SysProcAttr{Credential: c.account}
	if c.netns != 0 { // nsenter is root, and gives that up
		argv = append([]string{
			"nsenter", "--net=/proc/" + strconv.Itoa(c.netns) + "/ns/net", "--setuid", strconv.Itoa(int(c.account.Uid)),
			"--setgid", strconv.Itoa(int(c.account.Gid)), "--",
		}, argv...)
		attr.Credential = nil
	}
	p := &process{log: filepath.Join(c.dir, "log"), cmd: exec.CommandContext(context.Background(), argv[0], argv[1:]...)}
	p.cmd.Dir, p.cmd.SysProcAttr = c.dir, attr
	if err := p.start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	c.server = p
	return p.wait(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

func lastLines(text []byte) string {
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Stop ends the server as an operator would restart it: connections are cut, nothing is lost. It does nothing where none runs.
func (c *Cluster) Stop() { c.end(syscall.SIGINT) }

// Kill ends the server as a crash would: what was committed is there after Start.
func (c *Cluster) Kill() { c.end(syscall.SIGQUIT) }

func (c *Cluster) end(signal syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server != nil {
		c.server.end(signal)
		c.server = nil
	}
}
