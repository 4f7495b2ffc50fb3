package endtoend

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"apibuilder/internal/churntest"
)

var churn = flag.Duration("churn", 20*time.Second, "how long TestClientsThatComeAndGo lasts")

// TestClientsThatComeAndGo loads a server with clients that come, go, stall and break off. When they are gone, so are their
// descriptors and their memory, and the server ends in order.
func TestClientsThatComeAndGo(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("churn", sample(t, "clients/app.py"), sample(t, "clients/requirements.txt"))
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	target := churntest.Target{Address: u.Host, Path: u.Path, Key: d.Key}
	load := func(span time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		done, err := churntest.Load(ctx, target, 50)
		if err != nil {
			t.Fatalf("%v, after %v", err, done)
		}
		t.Log(done)
		d.get(t, "/bytes/1")
	}
	load(*churn / 4) // what a server takes once
	fillPool(t, s, d)
	files, memory := s.settledFiles(t), s.memory(t, "VmRSS")
	load(*churn)
	fillPool(t, s, d)
	after := s.settledFiles(t)
	moved := s.memory(t, "VmRSS") - memory
	t.Logf("%d descriptors before and %d after; memory moved by %.1f MiB", files, after, float64(moved)/(1<<20))
	if after > files+10 {
		t.Errorf("%d descriptors were open, %d are left", files, after)
	}
	if moved > 48<<20 { // of which 32 MiB are what the heap grows by before it is collected
		t.Errorf("memory moved by %d bytes", moved)
	}
}

// fillPool has as many uploads under way at a time as connections to the program are kept for later: how many the load has left there
// is chance.
func fillPool(t *testing.T, s *server, d deployed) {
	t.Helper()
	const kept = 64
	ends := make(chan error, kept)
	var uploads []*io.PipeWriter
	for range kept {
		body, upload := io.Pipe()
		uploads = append(uploads, upload)
		go func() {
			a, err := tryCall(t.Context(), http.MethodPost, d.URL+"/raw", d.Key, body)
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("status %d", a.status)
			}
			ends <- err
		}()
	}
	s.settledFiles(t)
	for _, upload := range uploads {
		_ = upload.Close()
	}
	for range kept {
		if err := <-ends; err != nil {
			t.Fatal(err)
		}
	}
}

// settledFiles counts the server's descriptors when their number has stopped to change.
func (s *server) settledFiles(t *testing.T) int {
	t.Helper()
	last, same := -1, 0
	for deadline := time.Now().Add(time.Minute); same < 5 && time.Now().Before(deadline); {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == last {
			same++
		} else {
			last, same = len(entries), 0
		}
		time.Sleep(200 * time.Millisecond) // nothing tells that a connection has ended
	}
	return last
}
