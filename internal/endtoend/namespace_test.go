package endtoend

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of the test's own. It ends with the test, even where that is killed.
type namespace struct{ pid int }

// newNamespace keeps one by a process that does nothing.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "--kill-child=KILL", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, done := make(chan error, 1), make(chan struct{})
	go func() { // on a thread that lives as long as the process: its end is the child's
		runtime.LockOSThread()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		err := cmd.Start()
		started <- err
		if err == nil {
			<-done
			_ = cmd.Wait()
			done <- struct{}{}
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		done <- struct{}{}
		<-done
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("make a network namespace (this test needs iproute2): %v", err)
	}
	// unshare --kill-child forks: the child is in the namespace, and so is unshare itself.
	return namespace{cmd.Process.Pid}
}

// enter is how to run a command there.
func (n namespace) enter() []string {
	return []string{"nsenter", "--net=/proc/" + strconv.Itoa(n.pid) + "/ns/net", "--"}
}

// ip runs ip(8) there.
func (n namespace) ip(t *testing.T, args ...string) {
	t.Helper()
	argv := append(append(n.enter(), "ip"), args...)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// join gives a namespace an address on the bridge of hub.
func (n namespace) join(t *testing.T, hub namespace, address string) {
	t.Helper()
	inside, outside := "eth0", fmt.Sprintf("v%d", n.pid)
	hub.ip(t, "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", strconv.Itoa(n.pid))
	hub.ip(t, "link", "set", outside, "master", "br0", "up")
	n.ip(t, "addr", "add", address, "dev", inside)
	n.ip(t, "link", "set", inside, "up")
}

// bridge gives the namespace one, with an address.
func (n namespace) bridge(t *testing.T, address string) {
	t.Helper()
	n.ip(t, "link", "add", "br0", "type", "bridge")
	n.ip(t, "addr", "add", address, "dev", "br0")
	n.ip(t, "link", "set", "br0", "up")
}

// dial connects from there: a socket stays in the namespace in which it was made.
func (n namespace) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away
		fd, err := unix.Open("/proc/"+strconv.Itoa(n.pid)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			out <- result{nil, err}
			return
		}
		// An address and no name, so that nothing is dialled from another thread.
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		out <- result{conn, err}
	}()
	r := <-out
	return r.conn, r.err
}
