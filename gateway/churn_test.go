package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"apibuilder/internal/churntest"
)

// Clients that come, go, stall and break off leave nothing behind.
func TestClientsThatComeAndGo(t *testing.T) {
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/ws":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			if _, err := io.ReadFull(rw, make([]byte, 8)); err == nil {
				_, _ = io.WriteString(conn, "\x81\x02hi")
				_, _ = io.Copy(io.Discard, rw)
			}
		case path == "/events":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case path == "/raw":
			_, _ = io.Copy(io.Discard, r.Body)
		default:
			n, _ := strconv.Atoi(strings.TrimPrefix(path, "/bytes/"))
			_, _ = io.Copy(w, io.LimitReader(&pattern{left: n}, int64(n)))
		}
	})
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the fake journal holds few
		for {
			select {
			case <-d.journal.added:
			case <-stop:
				return
			}
		}
	}()
	d.get("/run/private/bytes/1") // everything runs that always does
	files, goroutines := openFiles(t), goleak.IgnoreCurrent()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	done, err := churntest.Load(ctx, churntest.Target{Address: d.addr, Path: "/run/private", Key: testKey}, 30)
	if err != nil {
		t.Fatalf("%v, after %v", err, done)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // nothing tells that a connection has ended
		d.sandboxes.transport.CloseIdleConnections()
		d.sandboxes.mu.Lock()
		held := d.sandboxes.held
		d.sandboxes.mu.Unlock()
		inside, left := d.gateway.admission.count("api_private"), goleak.Find(goroutines)
		if held == 0 && inside == 0 && openFiles(t) <= files && left == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sandboxes are held, %d places taken, %d descriptors open of %d: %v", held, inside, openFiles(t), files, left)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
