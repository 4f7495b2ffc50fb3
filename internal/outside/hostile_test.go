package outside

import (
	_ "embed"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

//go:embed hostile.py
var hostileCode string

// TestHostile has a program with a network try what no program may: other kinds of sockets, its namespace and device, the
// host, and connections without end.
func TestHostile(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() { spec = testenv.Spec(t, "", "") }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", metaAddress+"/32", nameAddress+"/32", "192.168.7.7/32")
	names := nettest.NewNames(w, nameAddress+":53", map[string][]string{"web.example.com": {webAddress}})
	web := w.Listen(webAddress + ":443")
	go nettest.Echo(web)
	touched := make(chan string, 100)
	for _, address := range []string{metaAddress + ":80", "192.168.7.7:80"} {
		go bait(w.Listen(address), touched)
	}
	for _, address := range []string{"127.0.0.1:80", nettest.Host + ":80", "[" + nettest.Host6 + "]:80"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go bait(l, touched)
	}
	s := newServer(t, spec, egress.Config{
		Ceiling: &egress.Ceiling{Most: policy(t, "internet")}, Resolver: names.Resolver(), Limits: egress.Limits{PerSecond: 2000},
	})
	i := s.launch(t, hostileCode, "internet", nil)
	victim := s.launchAs(t, "api_victim", victimCode, "web.example.com:443", nil)
	attack := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			defer besides(t, victim)()
			f(t)
		})
	}
	attack("kernel", func(t *testing.T) {
		for what, came := range get[map[string]string](t, i, "/kernel") {
			if came == "allowed" {
				t.Errorf("%s is allowed", what)
			}
			t.Logf("%s: %s", what, came)
		}
	})
	attack("scan", func(t *testing.T) {
		before := s.manager.Egress("api_outside").Refused
		tried := 0
		for what, came := range get[map[string]string](t, i, "/scan") {
			if came == "connected" {
				t.Errorf("%s is reached", what)
			}
			tried++
		}
		if n := s.manager.Egress("api_outside").Refused - before; n < int64(tried)*9/10 { // the program's own kernel refuses a few
			t.Errorf("%d of %d tries are counted", n, tried)
		}
		s.line(t, ":80 stands for no name")
		select {
		case address := <-touched:
			t.Errorf("%s was reached", address)
		default:
		}
	})
	get[int](t, i, "/careless", "count", "20")
	settle(t, s, 0, 0)
	files, heap := held(t)
	attack("careless", func(t *testing.T) {
		if n := get[int](t, i, "/careless", "count", "1000"); n < 900 {
			t.Errorf("%d of 1000 connections were made", n)
		}
	})
	settle(t, s, files+5, heap+4<<20)
	attack("flood", func(t *testing.T) {
		get[int](t, i, "/flood")
		if n := get[int](t, i, "/careless", "count", "10"); n != 10 {
			t.Errorf("%d of 10 connections were made after a flood", n)
		}
	})
	settle(t, s, files+5, heap+4<<20)
}

// victimCode asks a server outside.
const victimCode = `
import socket
@app.get("/ask")
def ask():
    with socket.create_connection(("web.example.com", 443), 20) as s:
        s.sendall(b"x")
        return s.recv(1)
`

// besides has a program of another API ask a server outside all the time, until the function that it returns: it must be answered each time.
func besides(t *testing.T, victim *sandbox.Instance) (end func()) {
	stop, over, asked := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(over)
		for {
			if got, err := tryGet[string](t.Context(), victim, "/ask"); got != "x" || err != nil {
				t.Errorf("the victim's answer: %q, %v", got, err)
				return
			}
			asked++
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() {
		close(stop)
		<-over
		t.Logf("the victim was answered %d times", asked)
	}
}

// settle waits until nothing is open, and what is held is back where it was; 0 is not looked at.
func settle(t *testing.T, s *server, files int, heap uint64) {
	t.Helper()
	var nowFiles int
	var nowHeap uint64
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		nowFiles, nowHeap = held(t)
		if s.manager.Egress("api_outside").Open == 0 && (files == 0 || nowFiles <= files) && (heap == 0 || nowHeap <= heap) {
			t.Logf("%d descriptors, %d KiB of heap", nowFiles, nowHeap>>10)
			return
		}
	}
	t.Errorf("%d are open; %d descriptors, want %d; %d KiB of heap, want %d", s.manager.Egress("api_outside").Open, nowFiles, files, nowHeap>>10, heap>>10)
}

// held are this process's descriptors and the bytes that it uses.
func held(t *testing.T) (files int, heap uint64) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return len(entries), m.HeapAlloc + m.StackInuse
}

func bait(l net.Listener, touched chan<- string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		touched <- l.Addr().String()
		_ = conn.Close()
	}
}
