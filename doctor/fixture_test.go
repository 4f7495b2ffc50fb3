package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fake is a host that lacks nothing. Tests take something away.
type fake struct {
	Host
	Settings
	t     *testing.T
	space Disk
	// groups is what ControlGroups returns, namespaces the error of any Clone, alone that of one for users only.
	groups            ControlGroups
	namespaces, alone error
	pythons           []Interpreter
	found             []Tool
	reach             error
	busy              map[string]error // by address
	database          *Database
	databaseErr       error
	server            *Server
	network           error // of a sandbox's network
	certificate       error
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		t: t, space: Disk{Type: "ext4", FreeBytes: 100 << 30, FreeInodes: 1e6, Inodes: 2e6},
		groups: ControlGroups{
			Version: 2, Group: "/system.slice/apibuilder.service", Delegated: true, Controllers: []string{"cpu", "memory", "pids"},
		},
		pythons: []Interpreter{{Version: "3.11.2", Path: "/usr/bin/python3.11"}},
		found: []Tool{
			{Tool: "nsjail", Version: "3.6", Path: "/data/tools/nsjail"}, {Tool: "uv", Version: "0.9", Path: "/usr/bin/uv"},
		},
		database: &Database{Server: "16.4", Schema: "public", Version: 18, Newest: 18, Notifications: true},
		busy:     map[string]error{},
		Settings: Settings{
			DataDir: "/var/lib/data", Listen: "127.0.0.1:8080", FirstUID: 2_000_000_000, LastUID: 2_000_009_999, MaxSandboxes: 500,
			DefaultMemory: 256 << 20, Egress: true,
		},
	}
	f.Host = Host{
		Root: t.TempDir(), Machine: "x86_64",
		Now:          func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) },
		Synchronised: func() (bool, error) { return true, nil },
		Steady:       func() bool { return true },
		Disk:         func(string) (Disk, error) { return f.space, nil },
		Clone: func(_ context.Context, flags uintptr, _ uint32) error {
			if flags == unix.CLONE_NEWUSER {
				return f.alone
			}
			return errors.Join(f.namespaces, f.alone)
		},
		Listen:        func(_ context.Context, address string) error { return f.busy[address] },
		Network:       func() error { return f.network },
		Auditd:        func() (int, error) { return 0, nil },
		ControlGroups: func() (ControlGroups, error) { return f.groups, nil },
		Interpreters:  func(context.Context) []Interpreter { return f.pythons },
		Tools:         func(context.Context) ([]Tool, error) { return f.found, nil },
		Index:         func() (string, error) { return "https://index.example/simple", nil },
		Reach:         func(context.Context) error { return f.reach },
		Database: func(context.Context) (Database, error) {
			if f.databaseErr != nil {
				return Database{}, f.databaseErr
			}
			return *f.database, nil
		},
		Certificate: func() error { return f.certificate },
		Server: func(context.Context) (Server, bool) {
			if f.server == nil {
				return Server{}, false
			}
			return *f.server, true
		},
	}
	for name, text := range map[string]string{
		"proc/sys/kernel/osrelease":                 "6.1.0-13-amd64\n",
		"proc/sys/user/max_user_namespaces":         "30000\n",
		"proc/sys/kernel/seccomp/actions_avail":     "kill_process kill_thread trap errno user_notif trace log allow\n",
		"proc/self/mountinfo":                       "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:22 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n",
		"proc/self/uid_map":                         "         0          0 4294967295\n",
		"proc/self/limits":                          "Limit Soft Limit Hard Limit Units\nMax open files            1024                 524288               files\n",
		"proc/meminfo":                              "MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    7000000 kB\n",
		"proc/swaps":                                "Filename\tType\tSize\tUsed\tPriority\n",
		"sys/devices/system/cpu/online":             "0-3\n",
		"lib/x86_64-linux-gnu/libc.so.6":            "\x7fELF\x00GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
		"etc/passwd":                                "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
		"etc/subuid":                                "ann:100000:65536\n",
		"etc/resolv.conf":                           "# made by hand\nnameserver 192.0.2.53\n",
		"var/lib/x":                                 "",
		"proc/sys/kernel/unprivileged_userns_clone": "1\n",
	} {
		f.write(name, text)
	}
	return f
}

// write puts a file below the root.
func (f *fake) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.Root, name)); err != nil {
		f.t.Fatal(err)
	}
}

// held has a process listen at the ports 443 and 8080.
func (f *fake) held(pid string) {
	f.t.Helper()
	f.write("proc/net/tcp", `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
`)
	f.write("proc/net/tcp6", "  0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4713 1 0\n")
	f.write("proc/"+pid+"/fd/0", "")
	for name, to := range map[string]string{"7": "socket:[4711]", "8": "socket:[4713]"} {
		if err := os.Symlink(to, filepath.Join(f.Root, "proc", pid, "fd", name)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// data makes the data directory.
func (f *fake) data(mode os.FileMode) string {
	f.t.Helper()
	path := filepath.Join(f.Root, f.DataDir)
	if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, mode)); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fake) examine() Report { return Examine(f.t.Context(), f.Host, f.Settings) }
