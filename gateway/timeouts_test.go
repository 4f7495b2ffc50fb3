package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/store"
)

// An owner's times hold for that API alone, and from the next request on.
func TestTimeoutsOfAnAPI(t *testing.T) {
	const short = 50 * time.Millisecond
	cases := []struct {
		name    string
		options store.Options
		path    string
		uploads bool
		status  int
		word    string
	}{
		{"first byte", store.Options{RequestTimeout: short}, "/silent", false, 504, wordRequestTimeout},
		{"total before the answer", store.Options{TotalTimeout: short}, "/silent", false, 504, wordTotalTimeout},
		{"total within the answer", store.Options{TotalTimeout: short}, "/stream", false, 200, wordTotalTimeout},
		{"stream", store.Options{StreamTimeout: short}, "/begin", false, 200, wordIdleTimeout},
		{"upload", store.Options{UploadTimeout: short}, "/read", true, 408, wordBodyTimeout},
		{"a short first byte and a long upload", store.Options{RequestTimeout: short, UploadTimeout: 3 * short}, "/read", true, 408, wordBodyTimeout},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				switch r.URL.Path {
				case "/read":
					_, _ = io.Copy(io.Discard, r.Body)
					return
				case "/begin", "/stream":
					_ = control.Flush()
				}
				tick := time.NewTicker(short / 5)
				defer tick.Stop()
				for {
					select {
					case <-r.Context().Done():
						return
					case <-tick.C:
						if r.URL.Path == "/stream" {
							_, _ = io.WriteString(w, "more\n")
							_ = control.Flush()
						}
					}
				}
			})
			d.store.updateAPI("api_private", func(a *store.API) { a.Options = c.options })
			begin := time.Now()
			var body io.Reader
			if c.uploads {
				never, end := io.Pipe()
				defer end.Close()
				body = never
			}
			res, err := d.client.Do(d.request("POST", "/run/private"+c.path, body))
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != c.status {
					t.Errorf("status %d", res.StatusCode)
				}
			} else if !c.uploads { // a consumer that still sends may miss the answer
				t.Fatal(err)
			}
			if took := time.Since(begin); took < short {
				t.Errorf("after %v", took)
			}
			if u := d.record(); u.Status != c.status || u.Error != c.word {
				t.Errorf("record %+v", u)
			}
		})
	}
}

func TestTotalTimeoutEndsAWebSocket(t *testing.T) {
	d := newRawDoor(t, Config{Timeouts: Timeouts{Total: 50 * time.Millisecond}}, echoSwitch)
	c := d.dial()
	c.send("GET /run/public/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.head("GET")
	_, _ = io.Copy(io.Discard, c.Conn)
	if u := d.record(); u.Error != wordTotalTimeout {
		t.Errorf("record %+v", u)
	}
}

// A program whose backlog is full is waited for, and not longer than said.
func TestConnectTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "full.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("unix", path) // nobody takes it: the backlog is full
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	d := newDoorTo(t, Config{Timeouts: Timeouts{Connect: 100 * time.Millisecond}}, path)
	begin := time.Now()
	d.do(d.request("GET", "/run/public/", nil)).wantProblem(t, 504, wordConnectTimeout)
	if took := time.Since(begin); took < 100*time.Millisecond || d.sandboxes.suspect != 1 {
		t.Errorf("after %v, suspected %d times", took, d.sandboxes.suspect)
	}
}

func TestConnectWaitsForRoom(t *testing.T) {
	attempts := 0
	transport := NewTransport(nil)
	transport.dial = func(ctx context.Context) (net.Conn, error) {
		if attempts++; attempts < 4 {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.EAGAIN)}
		}
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		return ours, ctx.Err()
	}
	c, err := transport.connect(t.Context())
	if err != nil || attempts != 4 {
		t.Fatalf("%d attempts: %v", attempts, err)
	}
	_ = c.Close()
}
