package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"apibuilder/egress"
)

// A policy that is set while a deploy starts an instance without a network is in force at the first request after the deploy.
func TestAPolicyDuringADeploy(t *testing.T) {
	internet := parsePolicy(t, "internet")
	var policy atomic.Pointer[egress.Policy]
	policy.Store(&egress.Policy{})
	slow := func(o order, s *fakeSandbox) {
		time.Sleep(5 * time.Second)
		s.serve(o, func(http.ResponseWriter, *http.Request) {})
	}
	managed(t, slow, func(t *testing.T, m *Manager, d *fakeDriver) {
		acquire(t, m, "api_a").Release()
		go func() {
			time.Sleep(2 * time.Second)
			policy.Store(&internet)
			m.SetEgress("api_a", internet)
		}()
		if _, err := m.Replace(t.Context(), Spec{API: "api_a", Version: 2}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		launched := d.launches()
		l := acquire(t, m, "api_a")
		if l.Instance.guard == nil || l.Instance.Version() != 2 {
			t.Errorf("version %d serves, with a network: %v", l.Instance.Version(), l.Instance.guard != nil)
		}
		l.Release()
		acquire(t, m, "api_a").Release()
		if n := d.launches() - launched; n > 1 {
			t.Errorf("%d more were started", n)
		}
	}, func(c *ManagerConfig) {
		c.Egress = egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: internet}})
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Egress: *policy.Load()}, nil
		}
	})
}

func parsePolicy(t *testing.T, text string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// knows lists those of some names that a sandbox may look up.
func knows(guard *egress.Guard, names ...string) (known []string) {
	for _, name := range names {
		if guard != nil && guard.Knows(name) {
			known = append(known, name)
		}
	}
	return known
}

// TestAPolicyIsAsOldAsItsReading, not as its launch: what was set between the two holds, for one-off code and for programs.
func TestAPolicyIsAsOldAsItsReading(t *testing.T) {
	for name, c := range map[string]struct {
		before, read, since string // what was set, and what the store said
		undated             bool
		want                []string
		network             bool
	}{
		"narrowed":        {read: "a.example:443, b.example:443", since: "b.example:443", want: []string{"b.example"}, network: true},
		"taken away":      {read: "a.example:443", since: "none"},
		"given":           {read: "none", since: "a.example:443", want: []string{"a.example"}, network: true},
		"set before":      {before: "b.example:443", read: "a.example:443", want: []string{"a.example"}, network: true},
		"read by nobody":  {before: "b.example:443", read: "a.example:443", undated: true, want: []string{"a.example"}, network: true},
		"same, set again": {read: "a.example:443", since: "a.example:443", want: []string{"a.example"}, network: true},
	} {
		t.Run(name, func(t *testing.T) {
			gate := egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: parsePolicy(t, "internet")}})
			var network *egress.Guard
			var known []string
			play := func(o order, s *fakeSandbox) {
				network, known = s.network, knows(s.network, "a.example", "b.example")
				if o.Task == "" {
					serveOK(o, s)
					return
				}
				s.say(event{Event: "started"})
				s.end(Status{})
			}
			set := func(m *Manager, text string) {
				if text != "" {
					m.SetEgress("api_a", parsePolicy(t, text))
				}
			}
			read := func(m *Manager) Spec {
				set(m, c.before)
				spec := Spec{API: "api_a", Version: 1, EgressTurn: m.EgressTurn(), Egress: parsePolicy(t, c.read)}
				if c.undated {
					spec.EgressTurn = 0
				}
				set(m, c.since)
				return spec
			}
			check := func(t *testing.T, what string) {
				t.Helper()
				if fmt.Sprint(known) != fmt.Sprint(c.want) || (network != nil) != c.network {
					t.Errorf("%s knows %q, with a network: %v", what, known, network != nil)
				}
			}
			managed(t, play, func(t *testing.T, m *Manager, _ *fakeDriver) {
				if _, err := m.Run(t.Context(), read(m), Task{Code: "end", Time: time.Minute, Output: func(Line) {}}); err != nil {
					t.Fatal(err)
				}
				check(t, "one-off code")
				if _, err := m.Replace(t.Context(), read(m), func(context.Context) error { return nil }); err != nil {
					t.Fatal(err)
				}
				check(t, "a program that is deployed")
			}, func(c *ManagerConfig) { c.Egress = gate })
			if c.undated {
				return // what Source says is read when it is asked
			}
			var spec Spec
			managed(t, play, func(t *testing.T, m *Manager, _ *fakeDriver) {
				spec = read(m)
				acquire(t, m, "api_a").Release()
				check(t, "a program of which its source knows from before")
			}, func(c *ManagerConfig) {
				c.Egress = gate
				c.Source = func(context.Context, string, int) (Spec, error) { return spec, nil }
			})
		})
	}
}

// TestAChangeReachesOneOffCodeThatRuns: a connection that is not allowed any more ends.
func TestAChangeReachesOneOffCodeThatRuns(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().(*net.TCPAddr).AddrPort()
	private, err := egress.ParseRules(address.String())
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan *egress.Conn, 1)
	d := &fakeDriver{program: func(_ order, s *fakeSandbox) {
		s.say(event{Event: "started"})
		conn, err := s.network.Dial(t.Context(), egress.Destination{Addr: netip.MustParseAddr("127.0.0.1"), Port: address.Port()})
		if err != nil {
			t.Error(err)
			s.end(Status{})
			return
		}
		made <- conn
	}}
	m := NewManager(ManagerConfig{Driver: d, Egress: egress.NewGate(egress.Config{
		Ceiling: &egress.Ceiling{Most: parsePolicy(t, "internet"), Private: private},
	})})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		spec := Spec{API: "api_a", Version: 1, Egress: parsePolicy(t, address.String()), EgressTurn: m.EgressTurn()}
		_, err := m.Run(ctx, spec, Task{Code: "loop", Time: time.Hour, Output: func(Line) {}})
		ended <- err
	}()
	var conn *egress.Conn
	select {
	case conn = <-made:
	case err := <-ended:
		t.Fatalf("it ended before it had a connection: %v", err)
	}
	m.SetEgress("api_b", parsePolicy(t, "none"))
	select {
	case <-conn.Ended():
		t.Error("another API's change ends it")
	default:
	}
	m.SetEgress("api_a", parsePolicy(t, "a.example:443"))
	<-conn.Ended()
	_ = conn.Close()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWhoseEgressMatters is about an API that runs without a network and may be given one, one that has one, and others.
func TestWhoseEgressMatters(t *testing.T) {
	gate := egress.NewGate(egress.Config{Ceiling: &egress.Ceiling{Most: parsePolicy(t, "internet")}})
	managed(t, serveOK, func(t *testing.T, m *Manager, _ *fakeDriver) {
		m.SetEgress("api_sleeps", parsePolicy(t, "internet"))
		for _, api := range []string{"api_none", "api_internet"} {
			acquire(t, m, api).Release()
		}
		if got := fmt.Sprint(m.EgressRunning()); got != "[api_internet api_none]" {
			t.Errorf("it matters to %s", got)
		}
		if err := m.Remove(t.Context(), "api_internet"); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m.EgressRunning()); got != "[api_none]" {
			t.Errorf("after one was deleted it matters to %s", got)
		}
	}, func(c *ManagerConfig) {
		c.Egress = gate
		c.Source = func(_ context.Context, api string, version int) (Spec, error) {
			return Spec{API: api, Version: version, Egress: parsePolicy(t, map[string]string{"api_none": "none", "api_internet": "internet"}[api])}, nil
		}
	})
}
