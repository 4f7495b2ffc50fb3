package outside

import (
	"context"
	"strings"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

const changeCode = `
from fastapi import *
import socket
app = FastAPI()
held = []

@app.get("/hold")
def hold(host: str, port: int = 443):
    """Connect, and keep the connection."""
    try:
        s = socket.create_connection((host, port), 20)
        s.sendall(b"x")
        s.recv(1)
        held.append(s)
    except OSError as e:
        return type(e).__name__ + ": " + str(e)
    return "held"

@app.get("/ask")
def ask(n: int):
    """Use a connection that is kept."""
    try:
        held[n].sendall(b"x")
        return "answered" if held[n].recv(1) else "closed"
    except OSError as e:
        return type(e).__name__

@app.get("/wait")
def wait(n: int):
    """Wait for what comes of a connection that is kept."""
    try:
        return "closed" if not held[n].recv(1) else "answered"
    except OSError as e:
        return type(e).__name__
`

// TestChanges has changes of a policy act at once on what runs.
func TestChanges(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() { spec = testenv.Spec(t, "", "") }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", nameAddress+"/32")
	names := nettest.NewNames(w, nameAddress+":53", map[string][]string{"a.example.com": {webAddress}, "b.example.com": {webAddress}})
	go nettest.Echo(w.Listen(webAddress + ":443"))
	s := newServer(t, spec, egress.Config{Ceiling: &egress.Ceiling{Most: policy(t, "*.example.com:443")}, Resolver: names.Resolver()})
	s.spec.Code = changeCode
	change := func(text string) { // what an owner's change does: the store says so first
		s.spec.Egress = policy(t, text)
		s.manager.SetEgress(s.spec.API, s.spec.Egress)
	}
	if came := s.ask(t, "/hold", "host", "a.example.com"); !strings.Contains(came, "gaierror") {
		t.Errorf("without a policy: %s", came)
	}

	change("a.example.com:443, b.example.com:443")
	for _, host := range []string{"a.example.com", "b.example.com"} {
		if came := s.ask(t, "/hold", "host", host); came != "held" {
			t.Fatalf("after it was allowed, %s: %s", host, came)
		}
	}
	change("b.example.com:443")
	if came := s.ask(t, "/wait", "n", "0"); came != "ConnectionResetError" {
		t.Errorf("a connection that is not allowed any more: %s", came)
	}
	if came := s.ask(t, "/ask", "n", "1"); came != "answered" {
		t.Errorf("one that still is: %s", came)
	}
	if came := s.ask(t, "/hold", "host", "a.example.com"); !strings.Contains(came, "gaierror") {
		t.Errorf("a new one: %s", came)
	}
	s.line(t, "a.example.com is not in the API's option egress")

	change("none")
	if came := s.ask(t, "/wait", "n", "1"); came != "ConnectionResetError" {
		t.Errorf("after nothing is allowed: %s", came)
	}
	change("a.example.org:443")
	if came := s.ask(t, "/hold", "host", "a.example.org"); !strings.Contains(came, "gaierror") {
		t.Errorf("above the ceiling: %s", came)
	}
	s.line(t, "a.example.org is above what the operator lets APIs reach (--egress-ceiling)")
}

// TestWarmSandboxes has a sandbox that waited for a program reach what that program may, and nothing before.
func TestWarmSandboxes(t *testing.T) {
	var spec sandbox.Spec
	if !nettest.Isolated(t, &spec, func() { spec = testenv.Spec(t, "", "") }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", nameAddress+"/32")
	names := nettest.NewNames(w, nameAddress+":53", map[string][]string{"a.example.com": {webAddress}})
	go nettest.Echo(w.Listen(webAddress + ":443"))
	s := newServer(t, spec, egress.Config{Ceiling: &egress.Ceiling{Most: policy(t, "internet")}, Resolver: names.Resolver()}, warm)
	s.spec.Code, s.spec.Egress = changeCode, policy(t, "a.example.com:443")
	for n := range 2 {
		if came := s.ask(t, "/hold", "host", "a.example.com"); came != "held" {
			t.Errorf("start %d: %s", n, came)
		}
		for deadline := time.Now().Add(time.Minute); s.manager.Warm() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no sandbox waits")
			}
		}
		s.manager.Sleep(s.spec.API)
	}
	lease, err := s.manager.Acquire(t.Context(), s.spec.API)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	t.Logf("a warm one starts in %v", lease.Instance.StartTime())
}

// ask sends the API one request.
func (s *server) ask(t *testing.T, path string, query ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lease, err := s.manager.Acquire(ctx, s.spec.API)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	return get[string](t, lease.Instance, path, query...)
}
