// Package sandboxtest is the conformance suite that every sandbox.Driver passes: real programs in real sandboxes.
package sandboxtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// Host is what the suite needs of a driver's tests.
type Host struct {
	// Open makes a driver that has not been started.
	Open func(t *testing.T) sandbox.Driver
	// Spec holds an environment with FastAPI and uvicorn, its interpreter and its mounts.
	Spec sandbox.Spec
}

// Run runs the suite.
func Run(t *testing.T, h Host) {
	for name, test := range map[string]func(*testing.T, *bench){
		"ServesRequests":               servesRequests,
		"ServesByPrefix":               servesByPrefix,
		"SaysWhatItUsed":               saysWhatItUsed,
		"EnvironmentArrives":           environmentArrives,
		"OutputArrivesInLines":         outputArrives,
		"LinesKnowTheirRequest":        linesKnowTheirRequest,
		"LoggersStayAsTheyAre":         loggersStay,
		"RequestsAreLoggedOwnWay":      requestsAreLogged,
		"ErrorsAreLogged":              errorsAreLogged,
		"FailuresToStartHaveTheirType": failuresToStart,
		"OutOfMemoryInOneProcess":      outOfMemory("/eat"),
		"OutOfMemoryInAChild":          outOfMemory("/eat-in-child"),
		"OutOfMemoryInTmp":             outOfMemory("/eat-tmp"),
		"TooManyProcesses":             tooManyProcesses,
		"ExitAndSignal":                exitAndSignal,
		"DiskFull":                     diskFull,
		"TmpIsBounded":                 tmpIsBounded,
		"WallsHold":                    wallsHold,
		"SocketsAnswer":                socketsAnswer,
		"MountsBelowAreReadOnly":       mountsBelowReadOnly,
		"WarmSandboxes":                func(t *testing.T, _ *bench) { warmSandboxes(t, h) },
		"FirstRequestIsPrepared":       firstRequestIsPrepared,
		"SandboxesAreStrangers":        strangers,
		"RefusedCallsAreTold":          refusedCallsAreTold,
		"OrphansAreReaped":             orphansAreReaped,
		"StopRunsLifespanShutdown":     stopRunsShutdown,
		"KillEndsAStubbornProgram":     killEndsStubborn,
		"UploadsArriveWhole":           uploadsArrive,
		"SeveralFilesAreSeen":          severalFilesAreSeen,
		"FailuresOfSeveralFiles":       failuresOfSeveralFiles,
		"TasksRun":                     tasksRun,
	} {
		t.Run(name, func(t *testing.T) { test(t, newBench(t, h)) })
	}
}

// bench is one driver with its manager, and what its sandboxes printed.
type bench struct {
	spec    sandbox.Spec
	manager *sandbox.Manager
	lines   chan sandbox.Line
}

func newBench(t *testing.T, h Host) *bench {
	b := &bench{spec: h.Spec, lines: make(chan sandbox.Line, 1000)}
	b.spec.API, b.spec.Version, b.spec.RootPath = "api_suite", 1, "/run/api_suite"
	b.manager = sandbox.NewManager(sandbox.ManagerConfig{
		Driver: h.Open(t),
		Source: func(context.Context, string, int) (sandbox.Spec, error) {
			return sandbox.Spec{}, errors.New("the suite launches by hand")
		},
		StartTimeout: 60 * time.Second,
		OnOutput: func(_ string, _ int, line sandbox.Line) {
			select {
			case b.lines <- line:
			default:
			}
		},
	})
	if err := b.manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.manager.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return b
}

// launch starts code after a line that makes `app`, and ends it with the test.
func (b *bench) launch(t *testing.T, code string, change ...func(*sandbox.Spec)) *sandbox.Instance {
	t.Helper()
	i, err := b.try(t, "from fastapi import *\napp = FastAPI()\n"+code, change...)
	if err != nil {
		var exit *sandbox.Exit
		if errors.As(err, &exit) {
			t.Fatalf("launch: %v: %s\n%s", err, exit.Detail, exit.Output)
		}
		t.Fatalf("launch: %v", err)
	}
	t.Cleanup(func() { i.Stop(context.Background(), time.Second) })
	return i
}

func (b *bench) try(t *testing.T, code string, change ...func(*sandbox.Spec)) (*sandbox.Instance, error) {
	spec := b.spec
	spec.Code = code
	for _, f := range change {
		f(&spec)
	}
	return b.manager.Launch(t.Context(), spec)
}

// get asks for a path and decodes the JSON answer into a value of type T.
func get[T any](t *testing.T, i *sandbox.Instance, path string) T {
	t.Helper()
	body, err := call(t.Context(), i, path)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("GET %s answers %q: %v", path, body, err)
	}
	return v
}

func call(ctx context.Context, i *sandbox.Instance, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sandbox"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.Transport().RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return body, err
}

// waitExit waits for the end of an instance.
func waitExit(t *testing.T, i *sandbox.Instance) *sandbox.Exit {
	t.Helper()
	select {
	case <-i.Done():
		return i.Exit()
	case <-time.After(60 * time.Second):
		t.Fatal("the sandbox did not end within a minute")
		return nil
	}
}

// printed reports whether a line that contains text comes within a time.
func (b *bench) printed(text string, within time.Duration) bool {
	timeout := time.After(within)
	for {
		select {
		case line := <-b.lines:
			if strings.Contains(line.Text, text) {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

// waitLine waits for a line that contains text.
func (b *bench) waitLine(t *testing.T, text string) sandbox.Line {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		select {
		case line := <-b.lines:
			if strings.Contains(line.Text, text) {
				return line
			}
		case <-timeout:
			t.Fatalf("the program did not print %q within a minute", text)
		}
	}
}
