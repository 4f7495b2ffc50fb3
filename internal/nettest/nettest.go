// Package nettest gives tests a network of their own: the test runs again in a network namespace that has nothing but what
// the test makes, so that servers may have any address and nothing leaves the machine. It is imported by tests only.
package nettest

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const variable = "APIBUILDER_NETTEST"

// Isolated runs the calling test or benchmark once more, in a process with a network namespace and mounts of its own, and reports whether this is
// that process. What prepare makes, with the network that the machine has, arrives there in given. Call it first, and return
// when it is false.
func Isolated[T any](t testing.TB, given *T, prepare func()) bool {
	t.Helper()
	if text := os.Getenv(variable); text != "" {
		if err := json.Unmarshal([]byte(text), given); err != nil {
			t.Fatal(err)
		}
		return true
	}
	prepare()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.timeout=8m", "-test.count=1"}
	if _, ok := t.(*testing.B); ok {
		args = []string{"-test.run=^$", "-test.bench=^" + t.Name() + "$", "-test.benchtime=1x", "-test.timeout=8m"}
	}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	return false
}

// NameServers has the system's resolver ask these servers. The test must be Isolated.
func NameServers(t testing.TB, servers ...string) {
	t.Helper()
	if os.Getenv(variable) == "" {
		t.Fatal("the test is not Isolated")
	}
	var text strings.Builder
	for _, s := range servers {
		text.WriteString("nameserver " + s + "\n")
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(file, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount("/etc/resolv.conf", syscall.MNT_DETACH) })
}

// Echo answers every connection of l with what it says, and closes it when it has said all, until l ends.
func Echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}
