package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Host is a machine. Every field must be set; Kernel sets what the operating system knows.
type Host struct {
	Root    string // where its file tree begins: /proc, /sys, /etc, the data directory
	Machine string // "x86_64", as uname -m says it
	UID     int    // effective user id of this process

	Now func() time.Time
	// Synchronised reports whether the kernel's clock is kept right by a time server.
	Synchronised func() (bool, error)
	// Steady reports whether the monotonic clock never went back while it was read some thousand times.
	Steady func() bool
	// Disk describes the file system that holds a path, which begins with Root.
	Disk func(path string) (Disk, error)
	// Clone starts a program that does nothing in new namespaces (CLONE_NEW... flags), with uid as its only user, and
	// returns the error with which that fails.
	Clone func(ctx context.Context, flags uintptr, uid uint32) error
	// Listen opens an address and closes it again.
	Listen func(ctx context.Context, address string) error

	// Network makes a network as a sandbox gets it that may reach something outside, and takes it away again.
	Network func() error

	// Auditd returns the process that takes the kernel's audit records, 0 where there is none.
	Auditd        func() (pid int, err error)
	ControlGroups func() (ControlGroups, error)
	// Interpreters lists the Pythons of the machine, the default first.
	Interpreters func(ctx context.Context) []Interpreter
	Tools        func(ctx context.Context) ([]Tool, error)
	// Index returns the configured package index without its credentials.
	Index func() (string, error)
	// Reach asks the index for a page that every environment needs.
	Reach func(ctx context.Context) error
	// Database asks the configured database server, without changing anything; nil: SQLite in the data directory.
	Database func(ctx context.Context) (Database, error)
	// Certificate reads the one that is configured for TLS, and its key; nil: none is.
	Certificate func() error
	// Server finds the server that runs on the data directory; ok is false when there is none.
	Server func(ctx context.Context) (s Server, ok bool)
}

// Disk is a file system. Inodes is 0 where it makes them as needed.
type Disk struct {
	Type       string // "ext4"; its number in hexadecimal when it is not known
	FreeBytes  uint64 // for unprivileged users
	FreeInodes uint64
	Inodes     uint64
	ReadOnly   bool
	NoExec     bool
}

// ControlGroups is what cgroup.Describe finds, field by field.
type ControlGroups struct {
	Version     int
	Hybrid      bool
	ReadOnly    bool
	Controllers []string
	Missing     []string
	Group       string
	Delegated   bool
	Contained   bool
	Others      int
	SwapUnbound bool
}

// Interpreter is a Python; Unusable says why it cannot be used.
type Interpreter struct{ Version, Path, Unusable string }

// Tool is what toolchain.Look finds, field by field.
type Tool struct{ Tool, Version, Path, Wheel, Notes string }

// Database is what postgres.Look finds, field by field.
type Database struct {
	Server, Schema  string
	Version, Newest int
	Notifications   bool
}

// Server is one that runs.
type Server struct {
	PID                 int
	Listen, AdminListen string
}

func (h Host) path(name string) string { return filepath.Join(h.Root, name) }

// read returns a file's text without the space around it. A file that cannot be read is not there.
func (h Host) read(name string) (text string, ok bool) {
	data, err := os.ReadFile(h.path(name))
	return strings.TrimSpace(string(data)), err == nil
}

// number reads a file that holds one.
func (h Host) number(name string) (n int64, ok bool) {
	text, ok := h.read(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// lines returns the lines of a file that are not empty, split at white space.
func (h Host) lines(name string) [][]string {
	text, _ := h.read(name)
	var all [][]string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			all = append(all, fields)
		}
	}
	return all
}
