package sandbox

import (
	"time"

	"apibuilder/egress"
)

// Limits bound one sandbox. A zero field means the manager's default.
type Limits struct {
	MemoryBytes int64   // everything in it together, the files in /tmp included
	CPU         float64 // cores; more is throttled, never killed
	Pids        int     // processes and threads
	TmpBytes    int64   // of MemoryBytes, what /tmp may hold
}

// DefaultLimits are for an API whose author asked for nothing.
var DefaultLimits = Limits{MemoryBytes: 256 << 20, CPU: 1, Pids: 64, TmpBytes: 64 << 20}

// Or returns l with its zero fields taken from d. A /tmp larger than the memory is no use, so it is cut.
func (l Limits) Or(d Limits) Limits {
	if l.MemoryBytes == 0 {
		l.MemoryBytes = d.MemoryBytes
	}
	if l.CPU == 0 {
		l.CPU = d.CPU
	}
	if l.Pids == 0 {
		l.Pids = d.Pids
	}
	if l.TmpBytes == 0 {
		l.TmpBytes = d.TmpBytes
	}
	l.TmpBytes = min(l.TmpBytes, l.MemoryBytes)
	return l
}

// Spec is everything that makes one version of an API run.
type Spec struct {
	API     string // the API's id
	Version int
	Code    string // the program's text; of a program of several files that of its entry point, which is not used to run it
	// Files is the host's directory of a program of several files, which sees it read-only as FilesDir; empty: it is Code. Entry is
	// the module that it begins with, "pkg.main" or "pkg.main:app".
	Files, Entry string
	// RootPath is the public prefix, "/run/{id}".
	RootPath string
	// Environment is the host's directory of installed packages; it is seen as /env, and its bin/python runs the program.
	Environment string
	// Python is the interpreter that bin/python is a link to, and Mounts are further paths that it needs. Both are seen
	// read-only under their own names.
	Python string
	Mounts []string
	Env    map[string]string // reaches the program over the control descriptor, never by argv
	Limits Limits
	// Egress is what its owner lets it reach outside; the operator's ceiling is the manager's to apply.
	Egress egress.Policy
	// EgressTurn is Manager.EgressTurn of before Egress was read: what SetEgress said since is newer. 0: Egress was read nowhere, and
	// counts from the launch on.
	EgressTurn uint64
	Health     Health
	// Describe asks for the program's routes in Instance.Routes, which costs some milliseconds.
	Describe bool

	task *Task // to run instead of the program; nil: it serves
}

// Route is one of a program's routes, as the program tells it.
type Route struct {
	Path       string   `json:"path"`
	Methods    []string `json:"methods"` // none for a WebSocket or a mounted application
	NeedsInput bool     `json:"needs_input"`
}

// Stats is what a sandbox uses now and has used.
type Stats struct {
	MemoryBytes     int64
	MemoryPeakBytes int64 // 0 where the kernel does not tell
	CPUTime         time.Duration
	Throttled       time.Duration
	Pids            int
	// MemoryPressure and CPUPressure are the share of the last ten seconds, in percent, in which some of its processes
	// waited for them; 0 where the kernel does not tell.
	MemoryPressure, CPUPressure float64
}

// Line is one line that a program printed.
type Line struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"` // stdout or stderr, or for what the platform says sandbox or egress
	Text   string    `json:"text"`   // valid UTF-8 without its line feed, at most MaxLine bytes; untrusted
	// Level is one of the levels, as far as it can be told, and Request the id of the request in which it was printed, by the
	// program's word.
	Level   string `json:"level,omitempty"`
	Request string `json:"request,omitempty"`
	Event   string `json:"event,omitempty"` // of what the platform says, one word for what it is about
}
