package admin_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

const dialEnv = "APIBUILDER_TEST_DIAL"

// TestMain is also the other user of TestOtherUsersAreTurnedAway.
func TestMain(m *testing.M) {
	if path := os.Getenv(dialEnv); path != "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			os.Exit(3) // not even a connection
		}
		if n, err := conn.Read(make([]byte, 1)); n == 0 && err != nil {
			os.Exit(4) // turned away without a byte
		}
		os.Exit(5)
	}
	os.Exit(m.Run())
}

func serveUnix(t *testing.T, dir string) net.Listener {
	t.Helper()
	l, err := admin.ListenUnix(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	server := &http.Server{Handler: f.Local()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return l
}

// The kernel takes 108 bytes of path for a socket; a data directory may lie deeper.
func TestSocketInADeepDirectory(t *testing.T) {
	dir := t.TempDir()
	for range 5 {
		dir = filepath.Join(dir, strings.Repeat("deep", 10))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := serveUnix(t, dir)
	info, err := os.Stat(filepath.Join(dir, admin.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket %v, %v", info, err)
	}
	var apis []admin.API
	if err := client.Local(dir).Call(t.Context(), "GET", client.Path("apis"), nil, &apis); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Fatalf("left behind: %v", entries)
	}
}

func TestASocketOfADeadServerIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, admin.SocketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serveUnix(t, dir)
	if err := client.Local(dir).Call(t.Context(), "GET", client.Path("server"), nil, &admin.ServerInfo{}); err != nil {
		t.Fatal(err)
	}
}

// The mode of the socket keeps others out; should it be opened by mistake, the look at the peer does.
func TestOtherUsersAreTurnedAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, as the server does")
	}
	dir := t.TempDir()
	serveUnix(t, dir)
	path := filepath.Join(dir, admin.SocketName)
	program := copyOfThis(t)
	dial := func() int {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), dialEnv+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode()
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode().Perm()&1 == 0 {
			if err := os.Chmod(d, info.Mode().Perm()|0o111); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code := dial(); code != 3 {
		t.Fatalf("another user got a connection: %d", code)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if code := dial(); code != 4 {
		t.Fatalf("another user was not turned away: %d", code)
	}
}

// copyOfThis is the test's own program where another user may run it.
func copyOfThis(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dial")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "dial")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClientSaysWhoIsNotThere(t *testing.T) {
	dir := t.TempDir()
	err := client.Local(dir).Call(context.Background(), "GET", client.Path("apis"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no server runs on data directory "+dir) {
		t.Fatalf("error %v", err)
	}
	if _, err := client.Remote("http://host", ""); err == nil || !strings.Contains(err.Error(), "APIBUILDER_TOKEN") {
		t.Fatalf("error %v", err)
	}
	if _, err := client.Remote("host:80", "abt_x"); err == nil {
		t.Fatal("an address without a scheme is taken")
	}
}

func TestPathEscapesItsParts(t *testing.T) {
	if got := client.Path("apis", "../x?y"); got != "/api/v1/apis/%2E%2E%2Fx%3Fy" {
		t.Fatal(got)
	}
}
