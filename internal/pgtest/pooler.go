package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooled starts a pgbouncer in transaction mode before the database that url names, with few connections to it, and returns
// the database's URL by way of it.
func Pooled(t testing.TB, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("this test needs pgbouncer (apt-get install pgbouncer): %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const port = 6432
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s\n[pgbouncer]\nlisten_addr =\nlisten_port = %d\n"+
		"unix_socket_dir = %s\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n"+
		"server_login_retry = 1\n", to.Query().Get("host"), to.Query().Get("port"), Superuser, port, dir)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil { //nolint:gosec // another account reads it
		t.Fatal(err)
	}
	account := account()
	if account != nil {
		if err := os.Chown(dir, int(account.Uid), int(account.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p := &process{cmd: exec.CommandContext(context.Background(), bin, ini), log: filepath.Join(dir, "log")}
	p.cmd.Dir, p.cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: account}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGINT) })
	q := to.Query()
	q.Set("host", dir)
	q.Set("port", strconv.Itoa(port))
	to.RawQuery = q.Encode()
	if err := p.wait(func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, to.String())
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}); err != nil {
		t.Fatal(err)
	}
	return to.String()
}

// process is a server that ends with the test, even where that is killed.
type process struct {
	cmd    *exec.Cmd
	log    string // its output goes there
	exit   error  // once exited is closed
	exited chan struct{}
}

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	p.exited = make(chan struct{})
	started := make(chan error, 1)
	go p.keep(started)
	return <-started
}

// keep starts the command and waits for it on one thread: the parent's death signal comes when the thread ends that started
// it.
func (p *process) keep(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.exit = p.cmd.Wait()
		close(p.exited)
	}
}

// wait returns when ready does without an error. Neither server tells anybody but systemd that it takes connections.
func (p *process) wait(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %w\n%s", p.cmd.Path, p.exit, lastLines(text))
		case <-ctx.Done():
			return fmt.Errorf("%s takes no connections: %w", p.cmd.Path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end sends a signal and waits for the end, whatever the process says of it.
func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it may have ended
	<-p.exited
}
