package endtoend

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// eventually calls a function until it returns true, because outside of the server there is no event to wait for, and fails the test when that
// takes too long.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("it never came: %s", what)
		}
	}
}

// prints waits until the log of an API has a text n times.
func (s *server) prints(api, text string, n int) {
	s.t.Helper()
	eventually(s.t, api+" prints "+text, func() bool {
		out, err := s.command("logs", api)
		return err == nil && strings.Count(out, text) >= n
	})
}

const moody = hello + `
import time
from fastapi import Response
sick = hung = False
@app.get("/health")
async def health():
    if hung: time.sleep(3600)
    return Response(status_code=503 if sick else 204)
@app.post("/get-sick")
async def get_sick():
    global sick
    sick = True
@app.post("/hang")
async def hang():
    global hung
    hung = True
`

func TestUnhealthyProgramsAreReplaced(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--drain-timeout", "2s", "--start-timeout", "30s") // how long one may be unwell
	d := s.deploy("moody", moody, "", "--set", "health-path=/health", "--set", "health-interval=200ms", "--set", "health-timeout=1s",
		"--set", "health-failures=2")
	l := startLoad(t, d, 1, 1, 0)
	l.more(20)
	call(t, http.MethodPost, d.URL+"/get-sick", d.Key, nil)
	s.prints("moody", "the program ended: unhealthy", 1)
	l.more(20)
	if failed := l.stop(); len(failed) > 0 {
		t.Errorf("a program that is sick and answers was replaced with failures: %v", failed)
	}
	call(t, http.MethodPost, d.URL+"/hang", d.Key, nil)
	s.prints("moody", "the program ended: unhealthy", 2)
	d.get(t, "/")
	if out, err := s.command("apis", "show", "moody"); err != nil || !strings.Contains(out, "health path /health failed 2 times in a row: it did not answer within 1s") {
		t.Errorf("apis show: %v\n%s", err, out)
	}
	// A version that is not well never takes traffic.
	out, err := s.tryDeploy("moody", strings.Replace(moody, "sick = hung = False", "sick, hung = True, False", 1), "", "--set", "health-path=/health")
	if err == nil || !strings.Contains(out, `"unhealthy"`) {
		t.Errorf("a deploy of a sick version: %v\n%s", err, out)
	}
	d.get(t, "/")
}

const shutsDown = `
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI
@asynccontextmanager
async def life(app):
    yield
    print("the program has shut down", flush=True)
app = FastAPI(lifespan=life)
@app.get("/")
def root(): return "well"
@app.get("/sleep")
async def sleep():
    print("the request is here", flush=True)
    await asyncio.sleep(3600)
`

// TestLifespanShutdownRunsOnEveryStop ends a program in every way in which we end one that is well.
func TestLifespanShutdownRunsOnEveryStop(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example", "--idle-timeout", "2s")
	const text = "the program has shut down"
	d := s.deploy("tidy", shutsDown, "")
	s.deploy("tidy", shutsDown, "")
	s.prints("tidy", text, 1)
	if _, err := s.command("apis", "sleep", "tidy"); err != nil {
		t.Fatal(err)
	}
	s.prints("tidy", text, 2)
	d.get(t, "/")
	s.prints("tidy", text, 3) // idle
	d.get(t, "/")
	s.stop()
	log, err := os.ReadFile(filepath.Join(dir, "logs", d.ID+".jsonl"))
	if n := strings.Count(string(log), text); err != nil || n != 4 {
		t.Errorf("the program has shut down %d times in 4 stops, %v", n, err)
	}

	s = serve(t, dir, "--no-example") // on which nothing ends because it is idle
	for _, args := range [][]string{{"rollback", "tidy"}, {"promote", "tidy", "v2"}} {
		if _, err := s.command(args...); err != nil {
			t.Fatal(err)
		}
	}
	s.prints("tidy", text, 5) // version 1 again
	d = deployed{ID: d.ID, Name: d.Name, Key: d.Key, URL: s.url + "/run/" + d.ID}
	d.get(t, "/")
	if _, err := s.command("apis", "update", "tidy", "--set", "isolation=request"); err != nil {
		t.Fatal(err)
	}
	s.prints("tidy", text, 6) // what was shared
	d.get(t, "/")
	s.prints("tidy", text, 7) // what had its one request

	if _, err := s.command("apis", "update", "tidy", "--set", "isolation=none", "--set", "drain-timeout=300ms"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = tryCall(t.Context(), http.MethodGet, d.URL+"/sleep", d.Key, nil) // it is broken off
	}()
	s.prints("tidy", "the request is here", 1)
	s.deploy("tidy", shutsDown, "")
	s.prints("tidy", text, 8) // while a request is under way that never ends
	<-done
}

// TestACrashLoopSaysSo crashes a program again and again.
func TestACrashLoopSaysSo(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	d := s.deploy("loop", hostile, "")
	call(t, http.MethodGet, d.URL+"/exit", d.Key, nil)
	call(t, http.MethodGet, d.URL+"/exit", d.Key, nil)
	eventually(t, "trouble", func() bool {
		out, err := s.command("apis", "show", "loop")
		return err == nil && strings.Contains(out, "held off until") && strings.Contains(out, "the last one crashed")
	})
	if _, err := s.command("apis", "wake", "loop"); err != nil {
		t.Error(err)
	}
	d.get(t, "/")
}
