package selftest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"apibuilder/sandbox"
)

const (
	// spinTime is how long the attack is watched, and spinMost how long on a machine that is too busy to tell anything sooner.
	spinTime = 1200 * time.Millisecond
	spinMost = 10 * spinTime
	// cpuSlack allows for the kernel's accounting in periods of a tenth of a second, and for how long it takes to ask.
	cpuSlack = 300 * time.Millisecond
	// floodMemory is how much this process may grow while it reads a flood.
	floodMemory = 64 << 20
	// floodBytes is what a program gets rid of in two seconds when it is read as slowly as package sandbox promises: the
	// first burst, three seconds' worth for a slow clock, and room for what pipes hold.
	floodBytes = 16<<20 + 3*16<<20 + 1<<20
)

func spins(ctx context.Context, s *scene) finding {
	if _, err := s.get(ctx, "/attack/spin", attackPatience); err != nil {
		return failed("%v", err)
	}
	before, err := s.Stats()
	began, machine := time.Now(), readProcessors()
	if err != nil {
		return failed("%v", err)
	}
	var f finding
	for f.verdict != Pass {
		select {
		case <-time.After(spinTime):
		case <-ctx.Done():
			return failed("%v", ctx.Err())
		}
		after, err := s.Stats()
		elapsed := time.Since(began)
		if err != nil {
			return failed("%v", err)
		}
		f = judgeSpin(after.CPUTime-before.CPUTime, elapsed, s.limits.CPU, after.Throttled > before.Throttled,
			readProcessors().busySince(machine))
		if f.verdict == Fail || f.verdict == NotApplicable && elapsed >= spinMost {
			return f
		}
	}
	if _, err := s.get(ctx, "/openapi.json", attackPatience); err != nil {
		return failed("it answers nothing any more: %v", err)
	}
	return f
}

// judgeSpin judges an attack that used so much processor time in a time, with a limit in cores. busy says that the machine
// had nothing left: then what it did not get tells nothing.
func judgeSpin(used, elapsed time.Duration, limit float64, throttled, busy bool) finding {
	cores := used.Seconds() / elapsed.Seconds()
	switch {
	case used.Seconds() > limit*elapsed.Seconds()+cpuSlack.Seconds():
		return failed("the host counted %.2f cores with a limit of %g", cores, limit)
	case (cores < limit/4 || !throttled) && busy:
		return finding{NotApplicable, fmt.Sprintf("not measured: this machine is so busy that the attack got only %.2f cores in %.0f s with a limit of %g",
			cores, elapsed.Seconds(), limit)}
	case cores < limit/4:
		return failed("the host counted %.2f cores: the attack did not run", cores)
	case !throttled:
		return failed("the kernel did not throttle it")
	}
	return passed("%.2f cores of %g; it still answers", cores, limit)
}

func dumpsCore(ctx context.Context, s *scene) finding {
	c, err := ask[struct {
		Signal int      `json:"signal"`
		Dumped bool     `json:"dumped"`
		Files  []string `json:"files"`
	}](ctx, s, "/attack/core", attackPatience)
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Signal != 11:
		return failed("the child ended with signal %d", c.Signal)
	case c.Dumped || len(c.Files) > 0:
		return failed("the kernel says that it dumped: %t; files %v", c.Dumped, c.Files)
	}
	return passed("the child ended with SIGSEGV and left no dump")
}

func leavesDaemons(ctx context.Context, s *scene) finding {
	if _, err := s.get(ctx, "/attack/daemons", attackPatience); err != nil {
		return failed("%v", err)
	}
	all, err := s.all()
	if err != nil {
		return failed("%v", err)
	}
	if len(all) < 6 {
		return failed("the host sees %d processes: the daemons did not start", len(all))
	}
	if exit := s.Stop(ctx, stopGrace); exit.Reason != sandbox.Draining {
		return failed("it ended with %v", exit)
	}
	stay, err := left(all[0].uid(), 5*time.Second)
	if err != nil || len(stay) > 0 {
		return failed("%d of %d processes are left: %v", len(stay), len(all), err)
	}
	return passed("%d processes, none is left", len(all))
}

func floodsLog(ctx context.Context, s *scene) finding {
	before := residentMemory()
	c, err := ask[count](ctx, s, "/attack/log_flood", attackPatience)
	grown := residentMemory() - before
	switch {
	case err != nil:
		return failed("%v", err)
	case c.Made > floodBytes:
		return failed("the host took %d MiB in two seconds", c.Made>>20)
	case c.Made < 1<<20:
		return failed("it printed %d bytes: the attack did not run", c.Made)
	case grown > floodMemory:
		return failed("this process grew by %d MiB", grown>>20)
	}
	return passed("the host took %d MiB in two seconds; this process grew by %d MiB", c.Made>>20, max(0, grown>>20))
}

// printed waits for the last line of what a program pours out.
func printed(ctx context.Context, s *scene, path string) (string, error) {
	if _, err := ask[count](ctx, s, path, attackPatience); err != nil {
		return "", err
	}
	for deadline := time.Now().Add(attackPatience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if text := s.Output(); strings.HasSuffix(text, "the last line") {
			return text, nil
		}
	}
	return "", errors.New("the last line did not arrive")
}

func printsLine(ctx context.Context, s *scene) finding {
	text, err := printed(ctx, s, "/attack/log_line")
	if err != nil {
		return failed("%v", err)
	}
	longest := 0
	for line := range strings.Lines(text) {
		longest = max(longest, len(line)-1)
	}
	switch {
	case longest > sandbox.MaxLine:
		return failed("a line of %d bytes was kept", longest)
	case longest < 1000:
		return failed("the longest line has %d bytes: the attack did not run", longest)
	}
	return passed("cut into lines of %d bytes", longest)
}

func printsBinary(ctx context.Context, s *scene) finding {
	text, err := printed(ctx, s, "/attack/log_binary")
	switch {
	case err != nil:
		return failed("%v", err)
	case !utf8.ValidString(text):
		return failed("what is kept is no UTF-8")
	case !strings.ContainsRune(text, utf8.RuneError):
		return failed("nothing was replaced: the attack did not run")
	}
	return passed("what is kept is UTF-8")
}

func neverStarts(ctx context.Context, r *run) finding {
	s, err := r.launch(ctx, launch{files: []string{"control"}, limits: attackLimits, attack: "sleep"})
	if err == nil {
		s.end()
		return failed("a program that never starts counts as started")
	}
	exit, ok := errors.AsType[*sandbox.Exit](err)
	if !ok || exit.Reason != sandbox.StartTimeout {
		return failed("%v", err)
	}
	return gone(s, passed("%v", exit))
}

// gone turns a finding into a failure when the program still runs.
func gone(s *scene, f finding) finding {
	if p, err := s.process(); err == nil {
		return failed("process %d of it still runs", p.pid)
	}
	return f
}

func neverAnswers(ctx context.Context, s *scene) finding {
	if body, err := s.get(ctx, "/attack/never", 500*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		return failed("it answered %.100q, %v", body, err)
	}
	if err := s.Probe(ctx); err != nil {
		return failed("after it: %v", err)
	}
	return passed("the host gave up in time, and other requests are answered")
}

func answersNothing(ctx context.Context, s *scene) finding {
	if body, err := s.get(ctx, "/attack/block", 500*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		return failed("it answered %.100q, %v", body, err)
	}
	probe, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if s.Probe(probe) == nil {
		return failed("it answers a probe: the attack did not run")
	}
	began := time.Now()
	if exit := s.Stop(ctx, stopGrace); exit.Reason != sandbox.Draining {
		return failed("it ended with %v", exit)
	}
	if took := time.Since(began); took > 10*time.Second {
		return failed("it took %v to end it", took)
	}
	return passed("it answered no probe and was ended in %.1f s", time.Since(began).Seconds())
}

func answersWithoutEnd(ctx context.Context, s *scene) finding {
	_, err := s.get(ctx, "/attack/endless", attackPatience)
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		return failed("the answer was to be endless: %v", err)
	}
	if err := s.Probe(ctx); err != nil {
		return failed("after it: %v", err)
	}
	return passed("the host stopped reading after %d MiB, and other requests are answered", answerLimit>>20)
}
