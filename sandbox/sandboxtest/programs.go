package sandboxtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/sandbox"
)

func servesRequests(t *testing.T, b *bench) {
	i := b.launch(t, `
@app.get("/hello/{name}")
def hello(name: str, request: Request):
    return {"name": name, "root_path": request.scope["root_path"], "url": request.url.path}
`, func(s *sandbox.Spec) { s.Describe = true })
	got := get[map[string]string](t, i, "/hello/a%20b")
	if got["name"] != "a b" || got["root_path"] != b.spec.RootPath || got["url"] != b.spec.RootPath+"/hello/a b" {
		t.Errorf("answer %v", got)
	}
	find := func(r sandbox.Route) bool { return r.Path == "/hello/{name}" && r.NeedsInput }
	if !slices.ContainsFunc(i.Routes(), find) {
		t.Errorf("routes %+v: want /hello/{name}, which needs input", i.Routes())
	}
	if s, err := i.Stats(); err != nil || s.MemoryBytes == 0 || s.CPUTime == 0 || s.Pids < 2 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if err := i.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func environmentArrives(t *testing.T, b *bench) {
	i := b.launch(t, `
import os, time
zone = time.tzname[0]
@app.get("/")
def root(): return {**os.environ, "zone": zone, "epoch": time.strftime("%H", time.localtime(0))}
`, func(s *sandbox.Spec) {
		s.Env = map[string]string{"SECRET": "with space\n--and-more", "HOME": "/elsewhere", "TZ": "JST-9"}
	})
	env := get[map[string]string](t, i, "/")
	if env["SECRET"] != "with space\n--and-more" || env["HOME"] != "/elsewhere" {
		t.Errorf("environment %v", env)
	}
	if env["zone"] != "JST" || env["epoch"] != "09" {
		t.Errorf("TZ leads to the zone %s, in which 1970 began at %s", env["zone"], env["epoch"])
	}
	for name := range env {
		if strings.Contains(name, "APIBUILDER") || name == "UV_INDEX_URL" {
			t.Errorf("%s of the server's environment is visible", name)
		}
	}
}

func outputArrives(t *testing.T, b *bench) {
	b.launch(t, `
import sys
print("one")
print("two", file=sys.stderr)
print("long " + "x" * 20000)
sys.stdout.buffer.write(b"binary \xff\xfe\n"); sys.stdout.flush()
`)
	if l := b.waitLine(t, "one"); l.Stream != "stdout" {
		t.Errorf("stream %q", l.Stream)
	}
	if l := b.waitLine(t, "long "); len(l.Text) > sandbox.MaxLine {
		t.Errorf("a line of %d bytes", len(l.Text))
	}
	if l := b.waitLine(t, "binary "); l.Text != "binary \uFFFD" {
		t.Errorf("line %q", l.Text)
	}
}

func failuresToStart(t *testing.T, b *bench) {
	for name, c := range map[string]struct {
		code   string
		reason sandbox.Reason
		detail string
	}{
		"raises":  {"def f():\n    return 1/0\nf()", sandbox.ImportError, "line 2, in f"},
		"syntax":  {"def (", sandbox.ImportError, "SyntaxError: invalid syntax\nthe program runs with Python 3."},
		"module":  {"import no_such_module", sandbox.ImportError, "No module named 'no_such_module'"},
		"exits":   {"import sys; sys.exit(3)", sandbox.ImportError, "SystemExit: 3"},
		"no app":  {"x = 1", sandbox.NoApp, "app = FastAPI()"},
		"two":     {"from fastapi import FastAPI\na = FastAPI(); b = FastAPI()", sandbox.NoApp, "a, b"},
		"factory": {"def create_app():\n    from fastapi import FastAPI\n    return FastAPI()", sandbox.NoApp, "`app = create_app()`"},
		"guarded": {"from fastapi import FastAPI\nif __name__ == '__main__':\n    app = FastAPI()", sandbox.NoApp, "below `if __name__ == ...` is not run"},
		"WSGI":    {"class Flask:\n    def __call__(self, environ, start_response): pass\napp = Flask()", sandbox.NoApp, "`app` is a Flask of main"},
		"newer":   {"from typing import no_such_name", sandbox.ImportError, "the program runs with Python 3."},
		"startup": {"from fastapi import FastAPI\nfrom contextlib import asynccontextmanager\n@asynccontextmanager\nasync def l(app):\n    raise ValueError('no database')\n    yield\napp = FastAPI(lifespan=l)", sandbox.StartupFailed, "no database"},
		"silent":  {"from fastapi import FastAPI\nfrom contextlib import asynccontextmanager\nfrom logging.config import dictConfig\n@asynccontextmanager\nasync def l(app):\n    dictConfig({'version': 1})\n    raise ValueError('no database')\n    yield\napp = FastAPI(lifespan=l)", sandbox.StartupFailed, "ValueError: no database"},
		"refuses": {"from logging.config import dictConfig\nasync def app(scope, receive, send):\n    dictConfig({'version': 1})\n    await receive()\n    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", sandbox.StartupFailed, "no database"},
		"dies":    {"import os; os._exit(9)", sandbox.Crashed, "exit code 9"},
		"memory":  {"x = bytearray(1 << 30)", sandbox.OutOfMemory, "256 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.try(t, c.code)
			var exit *sandbox.Exit
			if !errors.As(err, &exit) || exit.Reason != c.reason || !strings.Contains(exit.Detail, c.detail) {
				t.Fatalf("error %#v, want %s with %q", err, c.reason, c.detail)
			}
			if exit.API != b.spec.API || exit.Version != b.spec.Version || exit.At.IsZero() {
				t.Errorf("exit %+v does not say whose it is", exit)
			}
		})
	}
}

func exitAndSignal(t *testing.T, b *bench) {
	const code = `
import os, signal
@app.get("/exit")
def leave(): os._exit(7)
@app.get("/signal")
def signalled(): os.kill(os.getpid(), signal.SIGSEGV)
`
	i := b.launch(t, code)
	_, _ = call(t.Context(), i, "/exit")
	if exit := waitExit(t, i); exit.Reason != sandbox.Crashed || exit.Code != 7 || exit.Signal != "" {
		t.Errorf("exit %+v, want crashed with code 7", exit)
	}
	i = b.launch(t, code)
	_, _ = call(t.Context(), i, "/signal")
	if exit := waitExit(t, i); exit.Reason != sandbox.Crashed || exit.Signal != "SIGSEGV" {
		t.Errorf("exit %+v, want crashed by SIGSEGV", exit)
	}
}

func orphansAreReaped(t *testing.T, b *bench) {
	i := b.launch(t, `
import os, time
@app.get("/orphan")
def orphan():
    if os.fork() == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.wait()
    return "made"
@app.get("/zombies")
def zombies():
    states = []
    for p in os.listdir("/proc"):
        if not p.isdigit(): continue
        try: states.append(open("/proc/%s/stat" % p).read().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError): pass  # reaped meanwhile
    return states.count("Z")
`)
	for range 20 {
		get[string](t, i, "/orphan")
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		left := get[int](t, i, "/zombies")
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d zombies are left", left)
		}
	}
}

func stopRunsShutdown(t *testing.T, b *bench) {
	i, err := b.try(t, `
from contextlib import asynccontextmanager
from fastapi import FastAPI
@asynccontextmanager
async def lifespan(app):
    yield
    print("shut down in order")
app = FastAPI(lifespan=lifespan)
`)
	if err != nil {
		t.Fatal(err)
	}
	exit := i.Stop(context.Background(), 30*time.Second)
	if exit.Reason != sandbox.Draining {
		t.Errorf("exit %+v", exit)
	}
	b.waitLine(t, "shut down in order")
}

func killEndsStubborn(t *testing.T, b *bench) {
	i := b.launch(t, `
import os, signal, threading
@app.get("/resist")
def resist():
    for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): os.system("")
    if os.fork() == 0:
        for n in range(1, 32):
            try: signal.signal(n, signal.SIG_IGN)
            except OSError: pass
        os.setsid()
        while True: signal.pause()
    return "started"
@app.get("/block")
async def block():
    while True: pass
`)
	get[string](t, i, "/resist")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _ = call(ctx, i, "/block")
	began := time.Now()
	i.Stop(context.Background(), 200*time.Millisecond)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func uploadsArrive(t *testing.T, b *bench) {
	i := b.launch(t, `
import hashlib
@app.post("/hash")
async def hash(request: Request):
    h = hashlib.sha256()
    async for part in request.stream(): h.update(part)
    return h.hexdigest()
`)
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sandbox/hash", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := i.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	sum := sha256.Sum256(data)
	if want := `"` + hex.EncodeToString(sum[:]) + `"`; string(body) != want {
		t.Errorf("the program saw %s, want %s", body, want)
	}
}
