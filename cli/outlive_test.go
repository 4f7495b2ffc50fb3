package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/handover"
)

// dying talks like a server that hands on, up to a word that is not answered any more: then process is ended, if it is to be.
func dying(t *testing.T, at string, process *exec.Cmd) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	door, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := door.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for _, word := range []string{"offer", "yours", "leaving"} {
			if n, err := conn.Read(make([]byte, 1<<10)); n == 0 || err != nil || word == at {
				break
			}
			fmt.Fprintf(conn, `{"word": %q, "protocol": 1}`, word)
		}
		if process != nil {
			_ = process.Process.Kill()
		}
	}()
	t.Cleanup(func() {
		_ = door.Close()
		<-done
	})
	conn, err := net.DialUnix("unix", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestASuccessorOutlivesTheServerBefore: a server that dies before the one that takes over serves is followed all the same.
func TestASuccessorOutlivesTheServerBefore(t *testing.T) {
	for _, word := range []string{"offer", "yours", "leaving"} {
		for _, dies := range []bool{true, false} {
			t.Run(fmt.Sprintf("before %s, dies %t", word, dies), func(t *testing.T) {
				child := exec.Command("sleep", "600")
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				defer child.Wait()         //nolint:errcheck // it is killed
				defer child.Process.Kill() //nolint:errcheck // it may have been
				fd, err := unix.PidfdOpen(child.Process.Pid, 0)
				if err != nil {
					t.Fatal(err)
				}
				s := &server{data: &dataDir{path: t.TempDir()}, log: zap.NewNop()}
				s.predecessor.life = os.NewFile(uintptr(fd), "process")
				ctx, end := context.WithCancel(t.Context())
				killed := child
				if !dies {
					killed = nil
					end() // nobody waits for an end that does not come
				}
				defer end()
				claim, _, err := handover.Ask(t.Context(), dying(t, word, killed))
				if err == nil {
					s.predecessor.claim = claim
					defer claim.Close()
					err = claim.Freeze(t.Context())
				}
				if err == nil {
					err = claim.Serving(t.Context())
				}
				if got := s.outlived(ctx, err); got != dies || s.predecessor.left != dies {
					t.Fatalf("it goes on: %t, %t; %v", got, s.predecessor.left, err)
				}
				if dies && s.predecessor.claim != nil {
					<-s.predecessor.claim.Ended()
				}
				if s.outlived(ctx, fmt.Errorf("the process speaks another protocol")) {
					t.Error("any error is taken for an end")
				}
			})
		}
	}
}

// TestTheManagementSocketOfAServerThatStopped is gone with its file.
func TestTheManagementSocketOfAServerThatStopped(t *testing.T) {
	s := &server{data: &dataDir{path: t.TempDir()}, log: zap.NewNop()}
	if err := s.openLocal(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := s.data.join(admin.SocketName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.regainLocal(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}
