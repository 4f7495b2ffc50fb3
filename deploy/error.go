package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	pythonenv "apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// Reason words of this package. An Error's Reason is one of these, one of sandbox.Reason, or one of pythonenv's.
const (
	InvalidRequest = "invalid_request" // refused before anything was built
	AboveCeiling   = "above_ceiling"   // asks for more than the owner's plan or the server allows
	Canceled       = "canceled"        // the caller went away, or the server stopped
	Interrupted    = "interrupted"     // the server died during the build
	NotDeployed    = "not_deployed"    // no version of the API ever took traffic
	Internal       = "internal"        // the operator's problem
)

// Failures are the reasons for which a version does not build or start. It must not be changed.
var Failures = []string{
	Interrupted, NotDeployed,
	string(sandbox.OutOfMemory), string(sandbox.TooManyProcesses), string(sandbox.DiskFull), string(sandbox.ImportError),
	string(sandbox.NoApp), string(sandbox.StartupFailed), string(sandbox.StartTimeout), string(sandbox.RequestTimeout),
	string(sandbox.Unhealthy), string(sandbox.CrashLoop), string(sandbox.KilledBySeccomp), string(sandbox.Crashed),
	string(sandbox.SandboxFailed),
	pythonenv.ReasonRefused, pythonenv.ReasonConflict, pythonenv.ReasonNotFound, pythonenv.ReasonNoWheel, pythonenv.ReasonHashMismatch,
	pythonenv.ReasonUnreachable, pythonenv.ReasonNoInterpreter, pythonenv.ReasonTimedOut, pythonenv.ReasonTooLarge,
	pythonenv.ReasonFailed, // pythonenv.ReasonOutOfMemory is the sandbox's word
}

// Passing are the reasons that are not about what was handed in: the same may work later. It must not be changed.
var Passing = []string{
	Canceled, Interrupted, Internal, string(sandbox.SandboxFailed), pythonenv.ReasonUnreachable, pythonenv.ReasonNoInterpreter,
}

// Error says why a deploy failed, to its author.
type Error struct {
	Reason  string
	Message string // one sentence
	Remedy  string // what to do about it
	Detail  string // a traceback or the installer's output: untrusted text of many lines, may be empty
}

// Error is one line.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + ": " + e.Remedy
}

// text is what a failed version keeps.
func (e *Error) text() string {
	if e.Detail == "" {
		return e.Error()
	}
	return e.Error() + "\n" + e.Detail
}

func invalid(message, remedy string) *Error {
	return &Error{Reason: InvalidRequest, Message: message, Remedy: remedy}
}

func canceled(cause error) *Error {
	return &Error{Reason: Canceled, Message: "the deploy was given up: " + cause.Error(), Remedy: "deploy again"}
}

// explain turns what a step returned into an *Error where it is the author's to mend.
func (d *Deployer) explain(ctx context.Context, err error, limits store.Limits) error {
	if ctx.Err() != nil {
		return canceled(context.Cause(ctx))
	}
	if told, ok := errors.AsType[*Error](err); ok {
		return told
	}
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return ExplainBuild(build)
	}
	if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
		return ExplainExit(exit, limits)
	}
	if errors.Is(err, sandbox.ErrStopped) {
		return canceled(err)
	}
	return err
}

// ExplainBuild says why there is no environment.
func ExplainBuild(build *pythonenv.BuildError) *Error {
	message := build.Message
	if build.Line > 0 {
		message = fmt.Sprintf("requirements line %d: %s", build.Line, message)
	}
	return &Error{Reason: build.Reason, Message: message, Remedy: build.Remedy, Detail: build.Output}
}

// ExplainExit says in a sentence why a program under these limits did not start, and what to do.
func ExplainExit(exit *sandbox.Exit, limits store.Limits) *Error {
	e := &Error{Reason: string(exit.Reason), Detail: exit.Detail}
	e.Message, e.Remedy = sentences(exit, limits)
	switch {
	case e.Detail == "":
		e.Detail = exit.Output
	case exit.Output != "" && slices.Contains(dumbEnds, exit.Reason):
		e.Detail = strings.TrimSuffix(e.Detail, "\n") + "\nthe last that it printed:\n" + exit.Output
	}
	return e
}

// dumbEnds are ends whose detail may leave out what the program itself said of them. A program that never served has no log
// in which to read it.
var dumbEnds = []sandbox.Reason{
	sandbox.Crashed, sandbox.OutOfMemory, sandbox.TooManyProcesses, sandbox.DiskFull, sandbox.KilledBySeccomp, sandbox.ImportError,
}

func sentences(exit *sandbox.Exit, limits store.Limits) (message, remedy string) {
	switch exit.Reason {
	case sandbox.OutOfMemory:
		return "the program used more memory than its limit" + bytesOf(limits), "allow it more with --memory, or load less"
	case sandbox.TooManyProcesses:
		return fmt.Sprintf("the program wanted more processes and threads than its limit of %d", limits.Pids),
			"allow it more with --pids, or start fewer"
	case sandbox.DiskFull:
		return "the program ended after it had filled /tmp", "write less there, or nothing at start-up"
	case sandbox.ImportError:
		return "the program raised an error while it was imported", "mend what the traceback names"
	case sandbox.NoApp:
		return "the program defines no application", "give it a line like `app = FastAPI()` at its top level"
	case sandbox.StartupFailed:
		return "the program's start-up handler raised an error", "mend what the traceback names"
	case sandbox.StartTimeout:
		return "the program did not finish starting in time", "move slow work out of import and start-up"
	case sandbox.Unhealthy:
		return "the program is not well: " + exit.Detail, "mend what its health path looks at, or set another with --set health-path="
	case sandbox.CrashLoop:
		return "the program failed many times in a row", "mend it and deploy it, or start it with `apibuilder apis wake`"
	case sandbox.KilledBySeccomp:
		return "the program made a system call that a sandbox does not allow", "do without it"
	case sandbox.Draining:
		return "the server is stopping", "deploy again when it is back"
	case sandbox.SandboxFailed:
		return "the server could not make a sandbox", "ask the operator to look into the server's log"
	}
	return "the program ended while it started: " + exit.Error(), "look at what it printed, and for what ends it"
}

func bytesOf(limits store.Limits) string {
	if limits.MemoryBytes == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d MiB", limits.MemoryBytes>>20)
}
