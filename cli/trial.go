package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/sandbox"
)

const (
	trialID       = "test"
	trialBody     = 64 << 10 // of an answer to a request that was given, kept for the report
	trialLines    = 1000     // of output, kept for the report
	exitPatience  = 2 * time.Second
	stopPatience  = 5 * time.Second
	maxTrialCalls = 200
)

// trial is one run of sandbox test.
type trial struct {
	program        admin.DeployRequest
	calls          []call
	startTimeout   time.Duration
	requestTimeout time.Duration
	progress       func(string)
	shelf          deploy.Shelf
	output         trialOutput
}

// run builds, starts and asks. What is wrong with the program is in the report; the error is for what is wrong with us.
func (t *trial) run(ctx context.Context, builder deploy.Builder, manager *sandbox.Manager) (*trialReport, error) {
	report := &trialReport{Routes: []sandbox.Route{}, Requests: []answered{}}
	err := t.attempt(ctx, builder, manager, report)
	report.Output = t.output.take()
	if e, ok := errors.AsType[*deploy.Error](err); ok {
		report.Problem = &admin.Problem{
			Type: e.Reason, Title: "The program did not run", Detail: e.Message, Remedy: e.Remedy, Output: e.Detail,
		}
		err = nil
	}
	report.OK = report.Problem == nil
	return report, err
}

func (t *trial) attempt(ctx context.Context, builder deploy.Builder, manager *sandbox.Manager, report *trialReport) error {
	request, err := t.check()
	if err != nil {
		return err
	}
	t.program.Requirements, t.program.Python, t.program.Code = request.Requirements, request.Python, request.Code
	begin := time.Now()
	environment, err := builder.Ensure(ctx, pythonenv.Request{
		Requirements: t.program.Requirements, Python: t.program.Python, Progress: t.progress,
	})
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return deploy.ExplainBuild(build)
	}
	if err != nil {
		return fmt.Errorf("build the environment: %w", err)
	}
	report.BuildSeconds, report.Environment = since(begin), environment.Key
	report.Python = environment.Interpreter.Version
	spec := t.spec(environment)
	if files := request.Files(); files != nil {
		spec.Entry = request.EntryPoint()
		if spec.Files, err = t.shelf.Put(files); err != nil {
			return err
		}
	}
	instance, err := manager.Launch(ctx, spec)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if exit, ok := errors.AsType[*sandbox.Exit](err); ok {
		limits := programSandboxLimits(t.program.Limits).Or(sandbox.DefaultLimits)
		return deploy.ExplainStart(environment, request, exit, storeLimits(limits))
	}
	if err != nil {
		return fmt.Errorf("start the program: %w", err)
	}
	defer instance.Stop(context.WithoutCancel(ctx), stopPatience)
	report.StartSeconds = instance.StartTime().Seconds()
	report.Routes = append(report.Routes, instance.Routes()...)
	t.ask(ctx, instance, report)
	if stats, err := instance.Stats(); err == nil {
		report.MemoryBytes, report.MemoryPeakBytes = stats.MemoryBytes, stats.MemoryPeakBytes
		report.CPUSeconds, report.Pids = stats.CPUTime.Seconds(), stats.Pids
	}
	return ctx.Err()
}

// check returns what the program comes to with its script metadata.
func (t *trial) check() (deploy.Request, error) {
	r := deploy.Request{
		Name: trialID, Code: t.program.Code, Archive: t.program.Archive, Entry: t.program.Entry, Requirements: t.program.Requirements, Python: t.program.Python,
		Env: t.program.Env, Limits: programLimits(t.program.Limits), Progress: t.progress,
	}
	r, err := r.Open()
	if err != nil {
		return r, err
	}
	if err := r.Check(); err != nil {
		return r, err
	}
	return r.WithMetadata()
}

func (t *trial) spec(environment pythonenv.Environment) sandbox.Spec {
	return sandbox.Spec{
		API: trialID, Version: 1, Code: t.program.Code, RootPath: "/run/" + trialID, Environment: environment.Path,
		Python: environment.Interpreter.Path, Mounts: environment.Interpreter.Mounts, Env: t.program.Env,
		Limits: programSandboxLimits(t.program.Limits), Describe: true,
	}
}

// ask sends the requests one after the other, until the program has ended.
func (t *trial) ask(ctx context.Context, instance *sandbox.Instance, report *trialReport) {
	for _, c := range append(callsOf(instance.Routes()), t.calls...) {
		result := t.send(ctx, instance, c)
		report.Requests = append(report.Requests, result)
		if result.Error == "" || ctx.Err() != nil {
			continue
		}
		if report.Problem == nil {
			report.Problem = &admin.Problem{
				Type: result.Error, Title: "A request failed",
				Detail: fmt.Sprintf("%s %s: %s", c.method, c.path, result.Detail),
			}
		}
		if instance.Exit() != nil {
			return
		}
	}
}

// callsOf picks one method of each route that needs no input. What the program says of itself is untrusted: a path that is
// none is left out, and there is a most.
func callsOf(routes []sandbox.Route) []call {
	var calls []call
	for _, r := range routes {
		method := pickMethod(r.Methods)
		if r.NeedsInput || method == "" || len(calls) == maxTrialCalls {
			continue
		}
		if _, err := http.NewRequestWithContext(context.Background(), method, "http://sandbox"+r.Path, nil); err == nil && r.Path != "" && r.Path[0] == '/' {
			calls = append(calls, call{method: method, path: r.Path, header: http.Header{}})
		}
	}
	return calls
}

func pickMethod(methods []string) string {
	if slices.Contains(methods, http.MethodGet) {
		return http.MethodGet
	}
	for _, m := range methods {
		if m != http.MethodHead && m != http.MethodOptions {
			return m
		}
	}
	return ""
}

func (t *trial) send(ctx context.Context, instance *sandbox.Instance, c call) answered {
	out := answered{Method: c.method, Path: c.path}
	ctx, cancel := context.WithTimeout(ctx, t.requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, c.method, "http://sandbox"+c.path, bytes.NewReader(c.body))
	if err != nil {
		out.Error, out.Detail = "bad_request", err.Error()
		return out
	}
	request.Header = c.header
	begin := time.Now()
	response, err := instance.Transport().RoundTrip(request)
	if err == nil {
		defer response.Body.Close()
		err = out.read(response, c.given)
	}
	out.Seconds = since(begin)
	switch {
	case err != nil:
		out.Error, out.Detail = whyBroken(ctx, instance, err)
	case out.Status >= http.StatusInternalServerError:
		out.Error, out.Detail = "server_error", fmt.Sprintf("the program answered with status %d", out.Status)
	}
	return out
}

// read takes in the answer, which may be endless: its time is bounded by the context.
func (a *answered) read(response *http.Response, keep bool) error {
	a.Status, a.ContentType = response.StatusCode, response.Header.Get("Content-Type")
	head, err := io.ReadAll(io.LimitReader(response.Body, trialBody))
	rest := int64(0)
	if err == nil {
		rest, err = io.Copy(io.Discard, response.Body)
	}
	a.Bytes = int64(len(head)) + rest
	if keep && utf8.Valid(head) {
		a.Body = string(head)
	}
	return err
}

// whyBroken finds the reason of an exchange that broke: the program ended, or was too slow, or answered with nonsense.
func whyBroken(ctx context.Context, instance *sandbox.Instance, err error) (reason, detail string) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return string(sandbox.RequestTimeout), "the program did not answer in time"
	}
	timer := time.NewTimer(exitPatience)
	defer timer.Stop()
	select {
	case <-instance.Done():
		exit := instance.Exit()
		return string(exit.Reason), exit.Error() + ": " + exit.Detail
	case <-ctx.Done():
	case <-timer.C:
	}
	return "bad_response", err.Error()
}

// trialOutput keeps what the program printed; lines come from several goroutines.
type trialOutput struct {
	mu    sync.Mutex
	lines []sandbox.Line
	lost  int
}

func (o *trialOutput) add(_ string, _ int, l sandbox.Line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == trialLines {
		o.lost++
		return
	}
	o.lines = append(o.lines, l)
}

func (o *trialOutput) take() []sandbox.Line {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost > 0 {
		o.lines = append(o.lines, sandbox.Line{
			Time: time.Now().UTC(), Stream: "sandbox",
			Text: fmt.Sprintf("%d more lines are left out", o.lost),
		})
	}
	return append([]sandbox.Line{}, o.lines...)
}
