package deploy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"apibuilder/python-env"
	"apibuilder/store"
	"apibuilder/store/options"
)

// Bounds of a request. Requirements are bounded again, by line, where they are read.
const (
	MaxCodeBytes         = 1 << 20
	MaxRequirementsBytes = 64 << 10
	MaxEnvVars           = 128
	MaxEnvBytes          = 64 << 10 // names and values together
	MinMemoryBytes       = 32 << 20 // an empty FastAPI program needs about this much
	MaxMemoryBytes       = 1 << 40
	MinCPU               = 0.01
	MaxCPU               = 1024.0
	MinPids              = 8 // the runner and its event loop need a few
	MaxPids              = 32768
)

var validEnvName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Request is one deploy. It says everything about the new version: what it leaves out is the plan's or the server's
// default, not what the version before had. The API's own settings are different: nil keeps what the API has.
type Request struct {
	Name         string // a valid name, or the id of an API that exists
	UserID       string // owner of an API that this creates; empty: the operator
	OwnOnly      bool   // an API that belongs to somebody else is not touched: its name is taken
	Code         string // the whole program, UTF-8
	Archive      []byte // instead of it: a zip archive of its modules and data
	Entry        string // of an archive: "pkg.main:app", "pkg.main"; empty: it is found, see bundle.Bundle.Entry
	Requirements string // pip requirements text; empty: what the program or its pyproject.toml says, see WithMetadata
	Python       string // "3.11" or ">=3.10,<3.13"; empty: that of the program's metadata, else the server's default
	Env          map[string]string
	Limits       store.Limits
	Upgrade      bool // resolve anew even when the requirements are those of the version that serves

	Public     *bool // consumers need no key
	PublicDocs *bool // nor do browsers for the documentation pages
	Rate       *store.Rate
	Options    map[string]string // see package options; an empty text takes one back

	Still func(ctx context.Context) error // asked right before the version becomes active: its error gives the deploy up; nil: nobody

	from  string // where the requirements are said, if not in a requirements text
	files *files // of an archive, once it was opened

	Progress func(line string) // called with what happens, from one goroutine at a time; nil: nobody listens
}

func (r Request) progress(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}

func (r Request) owner() string {
	if r.UserID == "" {
		return store.OperatorID
	}
	return r.UserID
}

// settle returns the API with the request's settings.
func (r Request) settle(a store.API) (store.API, error) {
	if r.Public != nil {
		a.Public = *r.Public
	}
	if r.PublicDocs != nil {
		a.PublicDocs = *r.PublicDocs
	}
	if r.Rate != nil {
		a.Rate = *r.Rate
	}
	var err error
	a.Options, err = ApplyOptions(a.Options, r.Options)
	return a, err
}

// ApplyOptions is options.Apply with an *Error.
func ApplyOptions(o store.Options, texts map[string]string) (store.Options, error) {
	changed, err := options.Apply(o, texts)
	if refused := (*options.Error)(nil); errors.As(err, &refused) {
		return o, invalid(refused.Message, refused.Remedy)
	}
	return changed, err
}

func (r Request) version(apiID string) store.Version {
	v := store.Version{
		APIID: apiID, Code: r.Code, Requirements: r.Requirements, Python: r.Python, Env: r.Env, Limits: r.Limits,
		State: store.VersionBuilding,
	}
	if f := r.files; f != nil {
		v.Bundle, v.Entry, v.Files, v.FileBytes = f.hash, f.entry.String(), f.Len(), f.Bytes()
	}
	return v
}

// Check refuses what can be refused without building anything. Its error is an *Error.
func (r Request) Check() error {
	for _, check := range []func() *Error{r.checkCode, r.checkRequirements, r.checkEnv, r.checkSettings} {
		if err := check(); err != nil {
			return err
		}
	}
	if _, err := ApplyOptions(store.Options{}, r.Options); err != nil {
		return err
	}
	return CheckLimits(r.Limits)
}

func (r Request) checkCode() *Error {
	switch {
	case strings.TrimSpace(r.Code) == "":
		return invalid("the code is empty", "hand in a Python file that defines `app = FastAPI()`")
	case len(r.Code) > MaxCodeBytes:
		return invalid(fmt.Sprintf("the code has %d bytes, the most is %d", len(r.Code), MaxCodeBytes),
			"move data out of the program, or parts of it into a package")
	case !isText(r.Code):
		return invalid("the code is not UTF-8 text", "save the file as UTF-8 and without NUL characters")
	}
	return nil
}

func (r Request) checkRequirements() *Error {
	switch {
	case len(r.Requirements) > MaxRequirementsBytes:
		return invalid(fmt.Sprintf("the requirements have %d bytes, the most is %d", len(r.Requirements), MaxRequirementsBytes),
			"list only what the program imports")
	case !isText(r.Requirements):
		return invalid("the requirements are not UTF-8 text", "save the file as UTF-8 and without NUL characters")
	case pythonenv.ValidPython(r.Python) != nil:
		return invalid(fmt.Sprintf("python %.60q is no version", r.Python), `give one like 3.11, or a specifier like ">=3.10,<3.13"`)
	}
	return nil
}

// checkEnv names variables, never their values.
func (r Request) checkEnv() *Error {
	if len(r.Env) > MaxEnvVars {
		return invalid(fmt.Sprintf("there are %d environment variables, the most is %d", len(r.Env), MaxEnvVars), "use fewer")
	}
	total := 0
	for name, value := range r.Env {
		total += len(name) + len(value)
		if !validEnvName.MatchString(name) {
			return invalid(fmt.Sprintf("environment variable name %q is not valid", name),
				"use letters, digits and _, beginning with no digit, like API_TOKEN=value")
		}
		if !isText(value) {
			return invalid(fmt.Sprintf("the value of environment variable %s is not UTF-8 text", name),
				"encode binary values, for example as base64")
		}
	}
	if total > MaxEnvBytes {
		return invalid(fmt.Sprintf("the environment variables have %d bytes together, the most is %d", total, MaxEnvBytes),
			"move large values out of the environment")
	}
	return nil
}

func (r Request) checkSettings() *Error {
	if r.Rate != nil && (r.Rate.Requests < 0 || r.Rate.Per < 0) {
		return invalid("the rate is negative", "give one like 60/m")
	}
	return nil
}

// CheckLimits returns an *Error for a limit that is set and out of bounds.
func CheckLimits(l store.Limits) error {
	switch {
	case l.MemoryBytes != 0 && (l.MemoryBytes < MinMemoryBytes || l.MemoryBytes > MaxMemoryBytes):
		return invalid(fmt.Sprintf("a memory limit of %d bytes is out of bounds", l.MemoryBytes),
			"give between 32Mi and 1Ti, for example 256M")
	case l.CPU != 0 && !(l.CPU >= MinCPU && l.CPU <= MaxCPU): // written so that NaN is refused
		return invalid(fmt.Sprintf("a CPU limit of %g cores is out of bounds", l.CPU),
			"give between 0.01 and 1024, for example 0.5")
	case l.Pids != 0 && (l.Pids < MinPids || l.Pids > MaxPids):
		return invalid(fmt.Sprintf("a limit of %d processes is out of bounds", l.Pids),
			fmt.Sprintf("give between %d and %d, for example 64", MinPids, MaxPids))
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
