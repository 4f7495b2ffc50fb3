package logs

import (
	"slices"
	"time"
)

// Line is one line of an API's log. A Text of the program's has no line feed; what is said about it may have some.
type Line struct {
	Time    time.Time `json:"time"`
	Version int       `json:"version"`
	Stream  string    `json:"stream"` // stdout, stderr, or what is not the program's: see Source
	Text    string    `json:"text"`

	Level   string `json:"level,omitempty"`   // one of Levels; empty: it cannot be told
	Request string `json:"request,omitempty"` // id of the request that it belongs to
	Event   string `json:"event,omitempty"`   // one word for what a line of the platform's is about
}

// Sources say where a line comes from. What the program prints is its own claim; the others' lines are the platform's.
const (
	Program = "program" // streams stdout and stderr
	Sandbox = "sandbox" // starts, sleep, ends, refused system calls, output that came too fast
	Gateway = "gateway" // limits that were hit, timeouts
	Deploy  = "deploy"  // deploys, traffic, and that an environment was built
	Build   = "build"   // what the building of an environment said
	Egress  = "egress"  // connections to outside: what was refused or failed, and sums
	Server  = "server"  // the log itself
)

// Sources are all of them.
var Sources = []string{Program, Sandbox, Gateway, Deploy, Build, Egress, Server}

// Streams are those of a program.
var Streams = []string{"stdout", "stderr"}

// Source says where the line comes from.
func (l Line) Source() string {
	if slices.Contains(Streams, l.Stream) {
		return Program
	}
	return l.Stream
}

// Levels are the levels of lines, the lowest first.
var Levels = []string{"debug", "info", "warning", "error", "critical"}

// rank orders levels; the unknown one is below all others.
func rank(level string) int { return slices.Index(Levels, level) }
