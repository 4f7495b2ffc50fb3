package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hangingUV is a uv that opens a pipe and hangs once it is asked to install. The pipe is readable to its end when uv and
// its children are gone.
func hangingUV(t *testing.T, cfg *Config, hang string) (pipe string) {
	t.Helper()
	pipe = filepath.Join(tempDir(t), "pipe")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o666), os.Chmod(pipe, 0o666)); err != nil {
		t.Fatal(err)
	}
	fakeUV(t, cfg, `if [ "$2" = sync ]; then exec 9> `+pipe+`; echo hangs >&9; `+hang+`; fi`, pipe)
	return pipe
}

// waitForHang returns when the hanging uv hangs, and what waits until it is gone.
func waitForHang(t *testing.T, pipe string) (gone func()) {
	t.Helper()
	f, err := os.Open(pipe) // blocks until uv opens it
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("hangs\n"))
	if _, err := io.ReadFull(f, line); err != nil {
		t.Fatal(err)
	}
	return func() {
		_, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestACancelledBuildLeavesNothing(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	pipe := hangingUV(t, &cfg, "sleep 1000 & wait")
	b := started(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := b.Ensure(ctx, Request{})
		result <- err
	}()
	gone := waitForHang(t, pipe)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone()
	noneLeft(t, b)
}

func TestStopEndsBuilds(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	pipe := hangingUV(t, &cfg, "sleep 1000 & wait")
	b := started(t, cfg)
	result := make(chan error)
	go func() {
		_, err := b.Ensure(context.Background(), Request{})
		result <- err
	}()
	gone := waitForHang(t, pipe)
	for range 2 {
		if err := b.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := <-result; !errors.Is(err, errStopped) {
		t.Error(err)
	}
	gone()
	if _, err := b.Ensure(t.Context(), Request{}); !errors.Is(err, errStopped) {
		t.Errorf("after Stop: %v", err)
	}
}

func TestABuildThatTakesTooLong(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	cfg.Timeout = 300 * time.Millisecond
	fakeUV(t, &cfg, "sleep 1000")
	b := started(t, cfg)
	_, err := b.Ensure(t.Context(), Request{})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonTimedOut {
		t.Error(err)
	}
	noneLeft(t, b)
}

func TestABuildThatFillsTheDisk(t *testing.T) {
	cfg := smallConfig(t, filepath.Join(tempDir(t), "envs"))
	fakeUV(t, &cfg, "sleep 1000")
	b := started(t, cfg)
	b.reserve = 1 << 62
	_, err := b.Ensure(t.Context(), Request{})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonTooLarge || !strings.Contains(e.Message, "disk") {
		t.Error(err)
	}
	noneLeft(t, b)
}

// childThatIsKilled is the process of the next test: it builds with a uv that hangs.
func childThatIsKilled(dir string) {
	tools.Nsjail, tools.UV = os.Getenv("PYTHONENV_TEST_NSJAIL"), os.Getenv("PYTHONENV_TEST_REAL")
	var err error
	if jail, err = openJail(tools.Nsjail, filepath.Dir(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cfg := testConfig(dir)
	cfg.UV, cfg.Jail = os.Getenv("PYTHONENV_TEST_UV"), shellJail{[]string{os.Getenv("PYTHONENV_TEST_PIPE")}}
	b := New(cfg)
	err = b.Start(context.Background())
	if err == nil {
		_, err = b.Ensure(context.Background(), Request{})
	}
	fmt.Fprintln(os.Stderr, "the child ended:", err)
	os.Exit(1)
}

func TestAKilledServerLeavesNothing(t *testing.T) {
	dir := filepath.Join(tempDir(t), "envs")
	child := exec.Command(os.Args[0])
	cfg := smallConfig(t, dir)
	hanging := cfg
	pipe := hangingUV(t, &hanging, "exec sleep 1000")
	child.Env = append(os.Environ(), "PYTHONENV_TEST_CHILD="+dir, "PYTHONENV_TEST_UV="+hanging.UV, "PYTHONENV_TEST_PIPE="+pipe,
		"PYTHONENV_TEST_NSJAIL="+tools.Nsjail, "PYTHONENV_TEST_REAL="+tools.UV)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	gone := waitForHang(t, pipe)
	running := started(t, cfg) // a start beside the build leaves its scratch alone
	if entries, err := os.ReadDir(running.path(scratchDir)); err != nil || len(entries) != 1 {
		t.Errorf("while the child builds: %v, %v", entries, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	gone() // uv died with its server
	b := started(t, cfg)
	noneLeft(t, b)
	env := ensure(t, b, "")
	if entries, err := os.ReadDir(dir); err != nil || env.Reused {
		t.Errorf("%v, %+v", err, env)
	} else {
		for _, e := range entries {
			if e.Name()[0] != '.' && e.Name() != env.Key {
				t.Errorf("%s is left", e.Name())
			}
		}
	}
}

func TestStartNamesTheDirectoryThatIsClosed(t *testing.T) {
	closed := filepath.Join(tempDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	err := New(testConfig(filepath.Join(closed, "envs"))).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+closed+",") || !strings.Contains(err.Error(), "--data-dir") {
		t.Error(err)
	}
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.BuildUID = 0
	if err := New(cfg).Start(t.Context()); err == nil {
		t.Error("root may build")
	}
}

func TestLineWriterBoundsWhatItKeeps(t *testing.T) {
	var lines int
	w := &lineWriter{scrub: func(s string) string { return s }, onLine: func(string) { lines++ }}
	for range 1000 {
		fmt.Fprintf(w, "%s\n\nx", strings.Repeat("a", 2*maxLine))
	}
	w.flush()
	if len(w.text()) > maxStderr || lines != 1001 || !strings.HasSuffix(w.text(), "a\nx") {
		t.Errorf("%d bytes, %d lines", len(w.text()), lines)
	}
}
