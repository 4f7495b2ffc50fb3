package sandbox

import (
	"fmt"
	"time"
)

// Reason is the one enumeration of what can go wrong with an author's program: the same word in the log, the management
// API and the type of the error body that a consumer gets.
type Reason string

// The reasons.
const (
	OutOfMemory      Reason = "out_of_memory"      // the kernel killed it at its memory limit
	TooManyProcesses Reason = "too_many_processes" // it ended after it had hit its process limit
	DiskFull         Reason = "disk_full"          // it ended after it had filled /tmp
	ImportError      Reason = "import_error"       // its code raised while it was imported, or would not compile
	NoApp            Reason = "no_app"             // its code defines no ASGI application
	StartupFailed    Reason = "startup_failed"     // its lifespan or startup handler raised
	StartTimeout     Reason = "start_timeout"      // it did not finish starting in time
	RequestTimeout   Reason = "request_timeout"    // it did not answer a request in time and then no probe either
	Unhealthy        Reason = "unhealthy"          // its health path did not answer, or not well, several times in a row
	CrashLoop        Reason = "crash_loop"         // it failed so often in a row that it is not started any more for a while
	KilledBySeccomp  Reason = "killed_by_seccomp"  // the kernel killed it for a system call
	Crashed          Reason = "crashed"            // it exited or was killed by a signal by its own doing
	SandboxFailed    Reason = "sandbox_failed"     // the sandbox itself could not be made: the operator's problem
	Draining         Reason = "draining"           // the server ended it: a new version, a deletion, a shutdown
	TimeLimit        Reason = "time_limit"         // one-off code ran for longer than it may
	Finished         Reason = "finished"           // one-off code ended by itself
)

// Exit says how a sandbox ended or why it did not start. It is an error.
type Exit struct {
	Reason  Reason
	API     string
	Version int
	Code    int    // exit code when it exited by itself
	Signal  string // name of the signal that ended it, empty when none did
	Detail  string // what its author should read: a traceback, a limit with its value; untrusted text
	Output  string // the last lines that the program printed; untrusted text
	At      time.Time
	RetryAt time.Time // before it the program is not started again, because it keeps failing; zero: the next request starts it
}

// Error is one line without the program's own text.
func (e *Exit) Error() string {
	switch {
	case e.Signal != "":
		return fmt.Sprintf("%s (%s)", e.Reason, e.Signal)
	case e.Reason == Crashed:
		return fmt.Sprintf("%s (exit code %d)", e.Reason, e.Code)
	}
	return string(e.Reason)
}
