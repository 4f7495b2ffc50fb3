package sandboxtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/sandbox"

	"golang.org/x/sys/unix"
)

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
        "write to the runner": attempt(lambda: open("/runner/apibuilder_runner/main.py", "a")),
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
	const code = `
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
`
	i := b.launch(t, code)
	// The kernel writes ten such records in five seconds and drops the others: what other tests were refused counts too.
	const tries, pause = 12, 5 * time.Second
	heard := false
	for try := 0; try < tries && !heard; try++ {
		if got := get[int](t, i, "/refused"); got != -1 {
			t.Fatalf("unshare returned %d", got)
		}
		heard = b.printed("the system call unshare is refused", pause)
	}
	if !heard {
		t.Error("the refused call was never told")
	}
	if runtime.GOARCH != "amd64" {
		return // no other has a second table that is reached like this
	}
	for try := 0; ; try++ {
		_, _ = call(t.Context(), i, "/other-table")
		exit := waitExit(t, i)
		if exit.Reason != sandbox.KilledBySeccomp {
			t.Fatalf("exit %+v", exit)
		}
		if strings.Contains(exit.Detail, "20 of another architecture's table") {
			return
		}
		if try == tries {
			t.Fatalf("the call that killed it was never told: %+v", exit)
		}
		time.Sleep(pause)
		i = b.launch(t, code)
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
    return {"abstract": s.connect_ex("\0apibuilder-test"), "tmp": sorted(os.listdir("/tmp")),
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
	if !slices.Equal(z.Tmp, []string{".program", "secret"}) {
		t.Errorf("/tmp holds %v", z.Tmp)
	}
}

// mountsBelowReadOnly shows that a file system which the host has mounted in a directory that a sandbox sees is as closed as
// the directory.
func mountsBelowReadOnly(t *testing.T, b *bench) {
	dir, err := os.MkdirTemp("/opt", "mounts") // not in /tmp, which a sandbox has its own of
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	inner := filepath.Join(dir, "with space")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(inner, 0o755), unix.Mount("none", inner, "tmpfs", 0, "mode=1777")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(inner, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	i := b.launch(t, fmt.Sprintf(`
import errno
@app.get("/")
def write():
    try:
        open(%q, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
`, inner+"/file"), func(s *sandbox.Spec) { s.Mounts = append(slices.Clone(s.Mounts), dir) })
	if got := get[string](t, i, "/"); got != "EROFS" {
		t.Errorf("writing below a mount below a mount: %q, want EROFS", got)
	}
}

// socketsAnswer shows what stays of the calls that sockets are asked with, where those about interfaces are refused.
func socketsAnswer(t *testing.T, b *bench) {
	i := b.launch(t, `
import fcntl, socket, struct, uuid
def ask(s, number): return struct.unpack("i", fcntl.ioctl(s, number, bytes(4)))[0]
@app.get("/")
def root():
    near, far = socket.socketpair()
    near.send(b"four")
    return {"FIONREAD": ask(far, 0x541B), "SIOCOUTQ": ask(near, 0x5411) and 1, "UUIDs by a random node": uuid.uuid1().version}
`)
	if got := get[map[string]int](t, i, "/"); got["FIONREAD"] != 4 || got["SIOCOUTQ"] != 1 || got["UUIDs by a random node"] != 1 {
		t.Errorf("%v", got)
	}
}
