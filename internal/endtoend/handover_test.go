package endtoend

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"apibuilder/sandbox/nsjail"
)

// waitEnd waits until a server that was taken over has ended by itself.
func (s *server) waitEnd() {
	s.t.Helper()
	timer := time.AfterFunc(90*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("the server that was taken over ended with %v\n%s", err, s.stderr)
	}
}

// TestANewBinaryTakesOver replaces the server twice under load. No connection is refused and no request fails.
func TestANewBinaryTakesOver(t *testing.T) {
	dir := dataDir(t)
	options := []string{"--no-example", "--drain-timeout", "1s", "--metrics-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
	old := serve(t, dir, options...)
	d := old.deploy("echo", echo, "websockets\n")
	l := startLoad(t, d, 4, 2, 4)
	l.more(100)
	followed := old.follow("echo")

	// What fails before it serves changes nothing.
	failing := exec.Command(binary, "serve", "--take-over", "--data-dir", dir, "--listen", "127.0.0.1:0", "--database-url",
		"postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	if out, err := failing.CombinedOutput(); err == nil {
		t.Fatalf("a server without its database took over:\n%s", out)
	}
	l.more(50)
	// Without being asked to, nobody takes over.
	second := exec.Command(binary, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0")
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "another server uses") {
		t.Fatalf("a second server: %v\n%s", err, out)
	}

	for range 2 {
		next := serve(t, dir, append(options, "--take-over")...)
		if next.url != old.url {
			t.Fatalf("it listens at %s, not at %s", next.url, old.url)
		}
		if next.ready["admin_listen"] != old.ready["admin_listen"] || next.ready["admin_listen"] == nil {
			t.Errorf("its management listens at %v, not at %v", next.ready["admin_listen"], old.ready["admin_listen"])
		}
		l.more(100)
		if again := next.deploy("echo", echo+"\n# again\n", "websockets\n"); again.ID != d.ID {
			t.Errorf("deployed as %s", again.ID)
		}
		old.waitEnd()
		l.more(100)
		old = next
	}
	for _, f := range l.stop() {
		t.Errorf("failed: %v", f)
	}
	eventually(t, "the last deploy's line", func() bool { return strings.Contains(followed.String(), "version 3 is deployed") })
	for _, text := range []string{"version 1 is deployed", "version 2 is deployed", "version 3 is deployed"} {
		if n := strings.Count(followed.String(), text); n != 1 {
			t.Errorf("who followed the log was told %d times that %s", n, text)
		}
	}
	t.Logf("%d requests, %d messages, %d WebSockets closed in order", l.answered.Load(), l.echoed.Load(), l.closed.Load())
	if l.closed.Load() == 0 {
		t.Error("no WebSocket was told that it ends")
	}
	old.checkUsage(l.answered.Load())
	old.stop()
	if left := controlGroups(t, dir); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

// written is what a program has written so far.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// String implements fmt.Stringer.
func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// follow follows an API's log until the test ends.
func (s *server) follow(name string) *written {
	s.t.Helper()
	out := &written{}
	cmd := exec.Command(binary, "logs", name, "--follow", "--data-dir", s.dataDir)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("logs --follow, interrupted: %v\n%s", err, out)
		}
	})
	return out
}

// checkUsage wants a record for each answer.
func (s *server) checkUsage(answers int64) {
	s.t.Helper()
	if total := s.usageTotal(); total < answers {
		s.t.Errorf("%d usage records for %d answers", total, answers)
	}
}

// scraper returns a function that asks for metrics, and returns when the process that answers was started.
func scraper(t *testing.T, address string, transport *http.Transport) func() string {
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return func() string {
		t.Helper()
		answer, err := client.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, started, _ := strings.Cut(string(page), "\nprocess_start_time_seconds ")
		started, _, _ = strings.Cut(started, "\n")
		return started
	}
}

// talks prints without end, who it is with each line.
const talks = `
import threading, time, uuid

def talk(me):
    while True:
        print("talks", me, flush=True)
        time.sleep(0.05)

threading.Thread(target=talk, args=(uuid.uuid4().hex,), daemon=True).start()
`

// TestATakenOverServerMayDie kills the old server while it drains, when metrics are the new one's alone: that cleans up, and no usage
// record is lost. Until then who follows a log at the new one is told what programs of the old one print.
func TestATakenOverServerMayDie(t *testing.T) {
	dir := dataDir(t)
	metrics := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	old := serve(t, dir, "--no-example", "--drain-timeout", "10m", "--metrics-listen", metrics)
	kept := scraper(t, metrics, &http.Transport{})
	ofOld := kept()
	d := old.deploy("echo", echo+talks, "websockets\n")
	l := startLoad(t, d, 0, 1, 1) // the WebSocket keeps the old one until it is killed
	l.more(50)
	first := old.follow("echo")
	eventually(t, "the program's lines", func() bool { return strings.Count(first.String(), "talks") > 1 })
	_, line, _ := strings.Cut(first.String(), "talks")
	line, _, _ = strings.Cut(line, "\n")
	next := serve(t, dir, "--no-example", "--take-over", "--metrics-listen", metrics)
	eventually(t, "a scrape of the new server's", func() bool { return kept() != ofOld })
	again := scraper(t, metrics, &http.Transport{DisableKeepAlives: true})
	for range 30 {
		if started := again(); started == ofOld || started == "" {
			t.Fatalf("a scrape of the server that started at %q, which was taken over", started)
		}
	}
	l.more(50)
	followed := next.follow("echo") // which begins with 100 lines
	eventually(t, "lines of the old server's program", func() bool { return strings.Count(followed.String(), line) > 120 })
	before := l.answered.Load()
	if err := old.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = old.cmd.Wait()
	l.more(50)
	for _, f := range l.stop() {
		if f.kind != "websocket" {
			t.Errorf("failed: %v", f)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for next.usageTotal() < before {
		if time.Now().After(deadline) {
			t.Fatalf("%d usage records for %d answers", next.usageTotal(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
	isOfOld := func(path string) bool { return strings.Contains(path, "/"+nsjail.InstanceName(dir)+"/") }
	for slices.ContainsFunc(controlGroups(t, dir), isOfOld) {
		if time.Now().After(deadline) {
			t.Fatalf("control groups are left: %v", controlGroups(t, dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestAServerMayDieBeforeItIsTakenOver: the one that was to take its place starts as if there had been none.
func TestAServerMayDieBeforeItIsTakenOver(t *testing.T) {
	dir := dataDir(t)
	old := serve(t, dir, "--no-example")
	if err := old.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // it answers nothing
		t.Fatal(err)
	}
	killed := make(chan struct{})
	time.AfterFunc(time.Second, func() {
		defer close(killed)
		_ = old.cmd.Process.Kill()
		_ = old.cmd.Wait()
	})
	next := serve(t, dir, "--no-example", "--take-over")
	<-killed
	if next.usageTotal() != 0 {
		t.Error("there are records of nobody")
	}
}

// TestSocketActivation starts a server on a socket that somebody else made and keeps, as systemd does: consumers that come
// while it is restarted wait.
func TestSocketActivation(t *testing.T) {
	dir := dataDir(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	start := func() *server {
		cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@"`,
			binary, "serve", "--json", "--no-example", "--data-dir", dir)
		cmd.ExtraFiles = []*os.File{file}
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+manager.LocalAddr().String())
		return serveBy(t, dir, cmd)
	}
	s := start()
	if s.url != "http://"+listener.Addr().String() {
		t.Fatalf("it serves at %s", s.url)
	}
	d := s.deploy("hello", hello, "")
	l := startLoad(t, d, 2, 2, 0)
	l.more(50)
	s.stop()
	start()
	l.more(50)
	for _, f := range l.stop() {
		t.Errorf("failed: %v", f)
	}
	for _, want := range []string{"READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=135000000", "READY=1"} {
		buf := make([]byte, 100)
		_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := manager.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("the service manager heard %q, %v: want %q", buf[:n], err, want)
		}
	}
}
