package sandbox

import (
	"context"
	"net"
	"time"

	"apibuilder/egress"
)

// Driver makes sandboxes of one kind. Its methods may be called concurrently. Nothing above it may assume how an
// endpoint comes to be: nsjail inherits a listening descriptor, another driver may do otherwise.
type Driver interface {
	// Start checks that this host can hold sandboxes and ends what a dead server left. It fails closed: an error names
	// what is missing and the remedy.
	Start(ctx context.Context) error
	// Launch starts one sandbox in which the runner waits for a program. ctx bounds the launch, not the sandbox's life.
	Launch(ctx context.Context, l Launch) (Sandbox, error)
	// Stop gives back what Start took. Every sandbox must have ended.
	Stop(ctx context.Context) error
}

// FilesDir is where a program of several files sees them. In every sandbox there is an empty directory.
const FilesDir = "/program"

// Launch is what a driver needs to know of a sandbox.
type Launch struct {
	ID          string // unique among this manager's: letters, digits, - and _
	Environment string
	Python      string
	Mounts      []string
	Limits      Limits // complete: no zero field
	// Network decides about and makes the sandbox's connections to outside, and is closed with the sandbox; nil: it has
	// loopback and nothing else.
	Network *egress.Guard
	// Output receives what the program prints, in order for each stream. It is called from the driver's goroutines and
	// must not block for long: the program's writes wait meanwhile.
	Output func(Line)
}

// Sandbox is one running jail. Its methods may be called concurrently.
type Sandbox interface {
	// Control is the host's end of the runner's control descriptor. Whoever launched the sandbox closes it.
	Control() net.Conn
	// Show has the sandbox see a directory of the host's read-only as FilesDir, with nothing that is mounted below it, and keeps a
	// shared lock (flock(2)) on it to the sandbox's end. It is called at most once, before the program arrives; nothing of the
	// program has run yet, but its packages may have.
	Show(dir string) error
	// Dial opens a connection to the program's server. It succeeds before the program listens: the kernel holds the
	// connection until then.
	Dial(ctx context.Context) (net.Conn, error)
	Stats() (Stats, error)
	// CPUTime is that of Stats, for a tenth of the cost.
	CPUTime() (time.Duration, error)
	// Terminate asks the program to finish (SIGTERM).
	Terminate() error
	// Kill ends every process at once.
	Kill() error
	// Done is closed when every process has ended and everything that the sandbox held is given back.
	Done() <-chan struct{}
	// Status says how it ended. It is valid once Done is closed.
	Status() Status
}

// Status is how a sandbox ended, as its driver sees it.
type Status struct {
	Code        int    // exit code of the program
	Signal      string // name of the signal that ended it, "SIGSEGV"
	Syscall     string // the call for which the kernel killed it, where that is known
	OOMKilled   bool   // the kernel killed a process of it at the memory limit
	NetlinkFull bool   // it was killed because more waited in its netlink sockets than may
	LocksFull   bool   // it was killed because it held more locks of files than it may
	QueuesFull  bool   // it was killed because more connections waited in it to be accepted than may
	DiskFull    bool   // /tmp had no byte or no file left when the program ended; the sandbox's own word
	PidsRefused bool   // the kernel refused it a process at the process limit
	// Err is set when the sandbox itself failed, not the program.
	Err error
}
