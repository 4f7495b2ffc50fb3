package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"apibuilder/deploy"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// Bounds of one-off code.
const (
	maxExecBody     = 8 << 20
	maxExecArgs     = 100
	defaultExecTime = time.Minute
	MaxExecTime     = time.Hour
)

// ExecRequest is the body of POST /api/v1/apis/{api}/exec: Python code to run once, beside the program of a version and with all
// that a sandbox of it has, in a sandbox of its own.
type ExecRequest struct {
	Code    string   `json:"code"`
	Args    []string `json:"args,omitempty"`    // sys.argv; absent: ["-c"]
	Version int      `json:"version,omitempty"` // absent: the active one
	Seconds float64  `json:"seconds,omitempty"` // that it may run for once it has started; absent: 60
}

// ExecEvent is one line of the answer: any number with Line, then one with Result or Error.
type ExecEvent struct {
	Line   *ExecLine   `json:"line,omitempty"`
	Result *ExecResult `json:"result,omitempty"`
	Error  *Problem    `json:"error,omitempty"`
}

// ExecLine is a line that the code printed. Text is untrusted.
type ExecLine struct {
	Stream string `json:"stream"` // stdout, stderr, or sandbox for what the platform says
	Text   string `json:"text"`
}

// ExecResult says how the code ended.
type ExecResult struct {
	Version  int    `json:"version"`
	Reason   string `json:"reason"`    // finished, whatever its exit code, or what ended it: out_of_memory, time_limit, ...
	ExitCode int    `json:"exit_code"` // as a shell has it: 128 and the signal's number for what was killed, 124 for the time limit
	Signal   string `json:"signal,omitempty"`
	Detail   string `json:"detail,omitempty"` // untrusted text
}

// exec streams what the code prints; the code waits for a client that does not read. When the client goes away, or may not run it any more,
// the code is ended.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) (any, error) {
	var body ExecRequest
	if err := decode(w, r, maxExecBody, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	if api.ActiveVersion == 0 {
		return nil, &requestError{"conflict", "no version of " + api.Name + " ever started", "deploy it first"}
	}
	if body.Version == 0 {
		body.Version = api.ActiveVersion
	}
	if err := s.mayRun(r.Context(), api, body.Version); err != nil {
		return nil, err
	}
	if c := callerOf(r.Context()); !c.seesAll() {
		end, err := s.loads.run(c.userID)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	seen, stop := s.whileSeen(r.Context(), api)
	defer stop()
	ctx, cancel := context.WithCancel(seen)
	defer cancel()
	stream := newStream(w)
	send := func(e ExecEvent) {
		if !stream.send(e) {
			cancel()
		}
	}
	exit, err := s.cfg.Run(ctx, api.ID, body.Version, sandbox.Task{
		Code: body.Code, Args: body.Args, Time: body.time(),
		Output: func(l sandbox.Line) { send(ExecEvent{Line: &ExecLine{l.Stream, l.Text}}) },
	})
	if failed, ok := errors.AsType[*sandbox.Exit](err); ok {
		err = deploy.ExplainExit(failed, store.Limits{})
	}
	if err != nil {
		err = whyEnded(r.Context(), seen, api, err)
		send(ExecEvent{Error: s.problem(r, err)})
		return written, nil
	}
	send(ExecEvent{Result: execResult(body.Version, exit)})
	return written, nil
}

// mayRun refuses a version that is not there, and one that is being deployed: what is made for the code would be made twice.
func (s *Server) mayRun(ctx context.Context, api store.API, number int) error {
	v, err := s.version(ctx, api, number)
	if err == nil && v.State == store.VersionBuilding && number != api.ActiveVersion {
		err = &requestError{"conflict", fmt.Sprintf("version %d of %s is being deployed", number, api.Name), "wait for its deploy to end"}
	}
	return err
}

// whyEnded is what to tell of code whose run returned an error. Of code that was ended for its client, or with the server, nobody knows what it
// has done by then: a client that asks again, with the same key, must be told so, and not have it run a second time.
func whyEnded(request, seen context.Context, api store.API, err error) error {
	const remedy = "look how far it came before you run it again"
	switch {
	case errors.Is(context.Cause(request), context.Canceled):
		return &requestError{"outcome_unknown", "the connection to the client broke, so the code was ended", remedy}
	case request.Err() != nil, errors.Is(err, sandbox.ErrStopped):
		return &requestError{"outcome_unknown", "the server stopped, so the code was ended", remedy}
	case seen.Err() != nil:
		return &requestError{"unauthorized", "the token is not good any more, or not for " + api.Name + ", so the code was ended", "ask for another token"}
	}
	return err
}

func (b ExecRequest) check() error {
	switch {
	case b.Code == "":
		return badRequest("there is no code", "give Python code to run")
	case len(b.Code) > deploy.MaxCodeBytes:
		return badRequest(fmt.Sprintf("the code has %d bytes, the most is %d", len(b.Code), deploy.MaxCodeBytes), "run less at once")
	case len(b.Args) > maxExecArgs:
		return badRequest(fmt.Sprintf("there are %d arguments, the most is %d", len(b.Args), maxExecArgs), "give fewer")
	case b.Version < 0:
		return badRequest(fmt.Sprintf("%d is no version", b.Version), "give a number like 3, or leave it out for the active one")
	case !(b.Seconds >= 0 && b.Seconds <= MaxExecTime.Seconds()): // written so that NaN is refused
		return badRequest(fmt.Sprintf("a time of %g seconds is out of bounds", b.Seconds),
			fmt.Sprintf("give at most %.0f", MaxExecTime.Seconds()))
	}
	return nil
}

func (b ExecRequest) time() time.Duration {
	if b.Seconds == 0 {
		return defaultExecTime
	}
	return time.Duration(b.Seconds * float64(time.Second))
}

func execResult(version int, e *sandbox.Exit) *ExecResult {
	code := e.Code
	switch {
	case e.Reason == sandbox.TimeLimit:
		code = 124 // as timeout(1) has it
	case e.Reason != sandbox.Finished && code == 0:
		code = 137 // killed
	}
	return &ExecResult{Version: version, Reason: string(e.Reason), ExitCode: code, Signal: e.Signal, Detail: e.Detail}
}
