package sandboxtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
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
import os
@app.get("/")
def root(): return dict(os.environ)
`, func(s *sandbox.Spec) {
		s.Env = map[string]string{"SECRET": "with space\n--and-more", "HOME": "/elsewhere"}
	})
	env := get[map[string]string](t, i, "/")
	if env["SECRET"] != "with space\n--and-more" || env["HOME"] != "/elsewhere" {
		t.Errorf("environment %v", env)
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
		"syntax":  {"def (", sandbox.ImportError, "SyntaxError"},
		"module":  {"import no_such_module", sandbox.ImportError, "No module named 'no_such_module'"},
		"exits":   {"import sys; sys.exit(3)", sandbox.ImportError, "SystemExit: 3"},
		"no app":  {"x = 1", sandbox.NoApp, "app = FastAPI()"},
		"two":     {"from fastapi import FastAPI\na = FastAPI(); b = FastAPI()", sandbox.NoApp, "a, b"},
		"startup": {"from fastapi import FastAPI\nfrom contextlib import asynccontextmanager\n@asynccontextmanager\nasync def l(app):\n    raise ValueError('no database')\n    yield\napp = FastAPI(lifespan=l)", sandbox.StartupFailed, "no database"},
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

const eaters = `
import subprocess, sys
def eat():
    hold = []
    while True: hold.append(bytearray(8 << 20))
@app.get("/eat")
def in_process(): eat()
@app.get("/eat-in-child")
def in_child():
    subprocess.run([sys.executable, "-c", "x = bytearray(1 << 30)"])
    return "survived"
@app.get("/eat-tmp")
def in_tmp():
    for n in range(100):
        try:
            with open("/tmp/%d" % n, "wb") as f: f.write(bytes(48 << 20))
        except OSError: break
    eat()
`

func outOfMemory(path string) func(*testing.T, *bench) {
	return func(t *testing.T, b *bench) {
		i := b.launch(t, eaters)
		if body, err := call(t.Context(), i, path); err == nil {
			t.Fatalf("the program answered %q", body)
		}
		if exit := waitExit(t, i); exit.Reason != sandbox.OutOfMemory {
			t.Errorf("exit %+v", exit)
		}
	}
}

func tooManyProcesses(t *testing.T, b *bench) {
	i := b.launch(t, `
import os, time
@app.get("/bomb")
def bomb():
    while True:
        try:
            if os.fork() == 0: time.sleep(600)
        except OSError:
            os._exit(1)
`, func(s *sandbox.Spec) { s.Limits.Pids = 20 })
	_, _ = call(t.Context(), i, "/bomb")
	if exit := waitExit(t, i); exit.Reason != sandbox.TooManyProcesses {
		t.Errorf("exit %+v", exit)
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

func tmpIsBounded(t *testing.T, b *bench) {
	i := b.launch(t, `
import errno, os
@app.get("/")
def fill():
    found = {}
    try:
        with open("/tmp/big", "wb") as f:
            while True: f.write(bytes(1 << 20))
    except OSError as e: found["bytes"] = errno.errorcode[e.errno]
    os.unlink("/tmp/big")
    try:
        for n in range(1 << 20): open("/tmp/%d" % n, "w").close()
    except OSError as e: found["inodes"] = errno.errorcode[e.errno]
    return found
`, func(s *sandbox.Spec) { s.Limits.TmpBytes = 16 << 20 })
	got := get[map[string]string](t, i, "/")
	if got["bytes"] != "ENOSPC" || got["inodes"] != "ENOSPC" {
		t.Errorf("filling /tmp ended in %v", got)
	}
}

func diskFull(t *testing.T, b *bench) {
	const fill = `
def fill():
    with open("/tmp/big", "wb") as f:
        while True: f.write(bytes(1 << 16))
`
	small := func(s *sandbox.Spec) { s.Limits.TmpBytes = 8 << 20 }
	i := b.launch(t, fill+`
import os
@app.get("/fill")
def route():
    try: fill()
    except OSError: os._exit(1)
`, small)
	_, _ = call(t.Context(), i, "/fill")
	if exit := waitExit(t, i); exit.Reason != sandbox.DiskFull {
		t.Errorf("exit %+v", exit)
	}
	_, err := b.try(t, fill+"fill()", func(s *sandbox.Spec) { s.Limits.TmpBytes = 1 << 20 })
	var exit *sandbox.Exit
	if !errors.As(err, &exit) || exit.Reason != sandbox.DiskFull {
		t.Errorf("at its start: %v", err)
	}
}

func wallsHold(t *testing.T, b *bench) {
	i := b.launch(t, `
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(f):
    try: return f() or "allowed"
    except OSError as e: return errno.errorcode.get(e.errno, str(e.errno))
def syscall(number, *args):
    def f():
        if libc.syscall(number, *args) < 0: raise OSError(ctypes.get_errno(), "")
    return f
@app.get("/")
def walls():
    return {
        "write to the environment": attempt(lambda: open("/env/x", "w")),
        "write to the root": attempt(lambda: open("/x", "w")),
        "write to the runner": attempt(lambda: open("/runner/runner.py", "a")),
        "write below /proc/sys": attempt(lambda: open("/proc/sys/kernel/hostname", "w")),
        "mount": attempt(syscall(165, 0, b"/tmp", b"tmpfs", 0, 0)),
        "unshare": attempt(syscall(272, 0x10000000)),
        "setns": attempt(syscall(308, 0, 0)),
        "clone a user namespace": attempt(syscall(56, 0x10000000 | 17, 0, 0, 0, 0)),
        "ptrace": attempt(syscall(101, 0, 0, 0, 0)),
        "bpf": attempt(syscall(321, 0, 0, 0)),
        "io_uring": attempt(syscall(425, 1, 0)),
        "keyctl": attempt(syscall(250, 0, 0, 0)),
        "raw socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()),
        "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close()),
        "connect outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
        "become root": attempt(lambda: os.setuid(0)),
        "signal everybody": attempt(lambda: os.kill(4194303, 9)),
    }
@app.get("/sight")
def sight():
    return {
        "uid": os.getuid(),
        "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
        "host files": [p for p in ("/root", "/home", "/etc/shadow", "/sys/kernel", "/boot", "/usr/bin/mount") if os.path.exists(p)],
        "no new privileges": "NoNewPrivs:\t1" in open("/proc/self/status").read(),
        "capabilities": [l for l in open("/proc/self/status") if l.startswith("Cap") and int(l.split()[1], 16)],
        "seccomp": "Seccomp:\t2" in open("/proc/self/status").read(),
        "mounts that are too open": [l for l in open("/proc/self/mounts") if too_open(*l.split()[1:4:2])],
        "host's proc": [p for p in ("cmdline", "kallsyms", "modules", "partitions", "timer_list", "key-users") if readable("/proc/" + p)],
    }
def too_open(path, options):
    options = options.split(",")
    device = path.startswith("/dev/")
    return not ("ro" in options or path == "/tmp" or device) or not ("nosuid" in options or path == "/") or not ("nodev" in options or path == "/" or device)
def readable(path):
    try: return bool(open(path).read(1))
    except OSError: return False
`)
	for wall, result := range get[map[string]string](t, i, "/") {
		want := []string{"EPERM", "EACCES", "EROFS", "ENOSYS"}
		switch wall {
		case "connect outside":
			want = []string{"ENETUNREACH"}
		case "become root":
			want = []string{"EINVAL", "EPERM"}
		case "signal everybody":
			want = []string{"ESRCH"}
		}
		if !slices.Contains(want, result) {
			t.Errorf("%s: %s, want %v", wall, result, want)
		}
	}
	sight := get[map[string]any](t, i, "/sight")
	text, _ := json.Marshal(sight)
	want := `{"capabilities":[],"host files":[],"host's proc":[],"mounts that are too open":[],"no new privileges":true,"processes":[1,2],"seccomp":true,"uid":1000}`
	if string(text) != want {
		t.Errorf("a sandbox sees %s\nwant %s", text, want)
	}
}

func refusedCallsAreTold(t *testing.T, b *bench) {
	i := b.launch(t, `
import ctypes, mmap, platform
libc = ctypes.CDLL(None)
@app.get("/refused")
def refused(): return libc.unshare(0x10000000)
@app.get("/other-table")
def other_table():
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
`)
	if got := get[int](t, i, "/refused"); got != -1 {
		t.Errorf("unshare returned %d", got)
	}
	if l := b.waitLine(t, "the system call unshare is refused"); l.Stream != "sandbox" {
		t.Errorf("stream %q", l.Stream)
	}
	if runtime.GOARCH != "amd64" {
		return // no other has a second table that is reached like this
	}
	_, _ = call(t.Context(), i, "/other-table")
	if exit := waitExit(t, i); exit.Reason != sandbox.KilledBySeccomp || !strings.Contains(exit.Detail, "20 of another architecture's table") {
		t.Errorf("exit %+v", exit)
	}
}

// strangers starts two sandboxes at once: different users outside, nothing of each other inside.
func strangers(t *testing.T, b *bench) {
	const code = `
import os, socket
secret = open("/tmp/secret", "w"); secret.write("mine"); secret.flush()
@app.get("/hold")
def hold():
    app.held = socket.socket(socket.AF_UNIX); app.held.bind("\0apibuilder-test"); app.held.listen()
    return "held"
@app.get("/look")
def look():
    s = socket.socket(socket.AF_UNIX)
    return {"abstract": s.connect_ex("\0apibuilder-test"), "tmp": os.listdir("/tmp"),
            "outside": open("/proc/self/uid_map").read().split()[1]}
`
	one, two := b.launch(t, code), b.launch(t, code)
	get[string](t, one, "/hold")
	type look struct {
		Abstract int      `json:"abstract"`
		Tmp      []string `json:"tmp"`
		Outside  string   `json:"outside"`
	}
	a, z := get[look](t, one, "/look"), get[look](t, two, "/look")
	if a.Abstract != 0 || z.Abstract == 0 {
		t.Errorf("abstract socket: own %d (want 0), the other's %d (want an error)", a.Abstract, z.Abstract)
	}
	if a.Outside == z.Outside {
		t.Errorf("both run as the host's user %s", a.Outside)
	}
	if !slices.Equal(z.Tmp, []string{"secret"}) {
		t.Errorf("/tmp holds %v", z.Tmp)
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
        if p.isdigit(): states.append(open("/proc/%s/stat" % p).read().rsplit(")", 1)[1].split()[0])
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
