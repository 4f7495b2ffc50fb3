package endtoend

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestAServerOutlivesWhoReadsItsLog: the end of a terminal, or of what a log is piped into, is no crash. At a hangup it stops in
// order.
func TestAServerOutlivesWhoReadsItsLog(t *testing.T) {
	dir := dataDir(t)
	cmd := exec.Command("sh", "-c", `exec 2>&3; exec "$0" "$@"`, binary, "serve", "--json", "--no-example", "--listen", "127.0.0.1:0", "--data-dir", dir)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{write}
	s := serveBy(t, dir, cmd)
	_ = write.Close()
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	d := s.deploy("hello", hello, "")
	d.get(t, "/")
	call(t, "GET", d.URL+"/unknown", d.Key, nil) // is logged
	d.get(t, "/")
	for range 2 { // by the shell and by the kernel
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	timer := time.AfterFunc(60*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("after a hangup the server ended with %v", err)
	}
	if left := controlGroups(t, dir); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}
