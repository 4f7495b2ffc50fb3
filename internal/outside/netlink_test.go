package outside

import (
	"strings"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

const netlinkCode = `
import socket, struct, threading

DUMP = struct.pack("=IHHIIB3x", 20, 18, 0x301, 1, 0, 0)
held = []

def ask(s):
    s.send(DUMP, socket.MSG_DONTWAIT)

@app.get("/proper")
def proper():
    for n in range(2000):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
            ask(s)
    return socket.if_nameindex()

def fill():
    while len(held) < 2000:
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        held.append(s)
        for _ in range(40):
            ask(s)

@app.get("/fill")
def start():
    threading.Thread(target=fill).start()
    return "begun"
`

// TestNetlinkSocketsAreBounded has a program with a network leave unread what it asks the kernel for, where no limit of memory counts it.
func TestNetlinkSocketsAreBounded(t *testing.T) {
	s := newServer(t, testenv.Spec(t, "", ""), egress.Config{Ceiling: &egress.Ceiling{Most: policy(t, "internet")}})
	i := s.launch(t, netlinkCode, "internet", nil)
	if names := get[[][]any](t, i, "/proper"); len(names) < 2 {
		t.Errorf("the interfaces are %v", names)
	}
	get[string](t, i, "/fill")
	select {
	case <-i.Done():
		if exit := i.Exit(); exit.Reason != sandbox.OutOfMemory || !strings.Contains(exit.Detail, "netlink") {
			t.Errorf("it ended with %v: %s", exit, exit.Detail)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
