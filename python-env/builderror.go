package pythonenv

import "fmt"

// Reasons of a BuildError.
const (
	ReasonRefused       = "requirements_refused"  // the text asks for something that is not allowed here
	ReasonConflict      = "conflict"              // no set of versions fulfils all of the requirements
	ReasonNotFound      = "not_found"             // the index has no such package or version
	ReasonNoWheel       = "no_wheel"              // there is a package, but not as a wheel for this interpreter
	ReasonHashMismatch  = "hash_mismatch"         // the index has another file than the author's hash says
	ReasonUnreachable   = "index_unreachable"     // the index does not answer or demands other credentials
	ReasonNoInterpreter = "no_interpreter"        // there is no such Python on this machine
	ReasonTimedOut      = "timed_out"             // the build took too long
	ReasonTooLarge      = "environment_too_large" // the build downloaded, wrote or left more than it may
	ReasonOutOfMemory   = "out_of_memory"         // the build needed more memory, or more processes, than it may
	ReasonFailed        = "build_failed"          // anything else
)

// BuildError says why there is no environment, to the author of the requirements. It never shows credentials.
type BuildError struct {
	Reason  string // one of the Reason constants
	Message string // one sentence
	Remedy  string // what to do, may be empty
	Line    int    // of the requirements, from 1; 0: not known
	Output  string // uv's own words, at most 64 KiB; untrusted text

	subject string // the package that it is about, as uv writes it
}

// Error is one line.
func (e *BuildError) Error() string {
	s := e.Message
	if e.Line > 0 {
		s = fmt.Sprintf("line %d: %s", e.Line, s)
	}
	if e.Remedy != "" {
		s += ": " + e.Remedy
	}
	return s
}
