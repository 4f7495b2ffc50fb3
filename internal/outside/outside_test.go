// Package outside tests what sandboxed programs reach of a network that the test makes: real servers, real Python clients.
package outside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
)

// server is a manager of sandboxes with a network, and what their authors read.
type server struct {
	manager *sandbox.Manager
	spec    sandbox.Spec
	lines   chan string
}

func newServer(t *testing.T, spec sandbox.Spec, cfg egress.Config, options ...func(*sandbox.ManagerConfig)) *server {
	t.Helper()
	s := &server{spec: spec, lines: make(chan string, 10000)}
	s.spec.API, s.spec.Version, s.spec.RootPath = "api_outside", 1, "/run/api_outside"
	driver := testenv.DriverConfig(t)
	driver.Network = true
	config := sandbox.ManagerConfig{
		Driver: nsjail.New(driver), Egress: egress.NewGate(cfg), StartTimeout: time.Minute,
		Source: func(context.Context, string, int) (sandbox.Spec, error) { return s.spec, nil },
		Plan: func(context.Context, string) (sandbox.Plan, error) {
			return sandbox.Plan{Shares: []sandbox.Share{{Version: 1, Weight: 1}}}, nil
		},
		OnOutput: func(_ string, _ int, line sandbox.Line) {
			select {
			case s.lines <- line.Text:
			default:
			}
		},
	}
	for _, option := range options {
		option(&config)
	}
	s.manager = sandbox.NewManager(config)
	if err := s.manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.manager.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// warm keeps sandboxes waiting. They come when they like, so a test that counts what is open does without.
func warm(c *sandbox.ManagerConfig) { c.WarmMemory = 1 << 30 }

func policy(t *testing.T, text string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// launch starts code, with `app` made before it, under a policy.
func (s *server) launch(t *testing.T, code, allowed string, env map[string]string) *sandbox.Instance {
	t.Helper()
	return s.launchAs(t, s.spec.API, code, allowed, env)
}

// launchAs is launch for another API.
func (s *server) launchAs(t *testing.T, api, code, allowed string, env map[string]string) *sandbox.Instance {
	t.Helper()
	spec := s.spec
	spec.API, spec.RootPath = api, "/run/"+api
	spec.Code, spec.Egress, spec.Env = "from fastapi import *\napp = FastAPI()\n"+code, policy(t, allowed), env
	i, err := s.manager.Launch(t.Context(), spec)
	if err != nil {
		if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
			t.Fatalf("%v: %s\n%s", err, exit.Detail, exit.Output)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Stop(context.Background(), time.Second) })
	return i
}

// line waits for a line that the author reads.
func (s *server) line(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line := <-s.lines:
			if strings.Contains(line, want) {
				return
			}
			t.Logf("another line: %s", line)
		case <-timeout:
			t.Fatalf("no line with %q came", want)
		}
	}
}

// get asks a program for a path with a query, and returns the text or the object that it answers.
func get[T any](t *testing.T, i *sandbox.Instance, path string, query ...string) T {
	t.Helper()
	v, err := tryGet[T](t.Context(), i, path, query...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tryGet is get for goroutines that are no test's.
func tryGet[T any](ctx context.Context, i *sandbox.Instance, path string, query ...string) (v T, err error) {
	values := url.Values{}
	for n := 0; n+1 < len(query); n += 2 {
		values.Set(query[n], query[n+1])
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+path+"?"+values.Encode(), nil)
	if err != nil {
		return v, err
	}
	resp, err := i.Transport().RoundTrip(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("GET %s: %d, %v: %s", path, resp.StatusCode, err, body)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("GET %s answers %q: %w", path, body, err)
	}
	return v, nil
}
