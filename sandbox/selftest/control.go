package selftest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"apibuilder/sandbox"
)

func controlChecks() []check {
	lie := func(id, attack, tried string) check {
		c := newCheck("control."+id, tried, "frames of the control descriptor are checked", func(ctx context.Context, r *run) finding {
			return lies(ctx, r, attack)
		})
		c.waits = true
		return c
	}
	descriptors := newCheck("control.descriptors", "send descriptors to the host", "descriptors are not taken", sendsDescriptors)
	descriptors.waits = true
	return []check{
		lie("garbage", "garbage", "write garbage to the control descriptor"),
		lie("endless_frame", "endless", "announce a frame of four gigabytes"),
		lie("nested_frame", "nested", "send JSON a million levels deep"),
		lie("unknown_event", "event", "send an event that does not exist"),
		lie("false_reason", "reason", "claim a reason that only the kernel can give"),
		lie("false_start", "started", "claim to serve and refuse connections"),
		lie("closed", "end", "close the control descriptor"),
		descriptors,
		attackCheck("control.exit_code", "end like nsjail does when it fails", "nsjail's log is a descriptor that no program has", attackLimits, endsLikeNsjail),
		attackCheck("control.kill_init", "kill PID 1", byProcesses, attackLimits, killsInit),
		attackCheck("control.ignore_stop", "ignore the signals that ask it to end", "SIGKILL to the whole group", attackLimits, ignoresStop),
	}
}

// lies expects the launch to be refused as the program's own failure, soon.
func lies(ctx context.Context, r *run, attack string) finding {
	before, began := residentMemory(), time.Now()
	s, err := r.launch(ctx, launch{files: []string{"control"}, limits: attackLimits, attack: attack})
	if err == nil {
		s.end()
		return failed("the host believed it")
	}
	exit, ok := errors.AsType[*sandbox.Exit](err)
	switch {
	case !ok || exit.Reason != sandbox.Crashed:
		return failed("the host made of it: %v", err)
	case residentMemory()-before > floodMemory:
		return failed("this process grew by more than %d MiB", floodMemory>>20)
	case time.Since(began) > 15*time.Second:
		return failed("the host believed it for %v", time.Since(began))
	}
	return gone(s, passed("%s: %.100s", exit.Reason, exit.Detail))
}

func sendsDescriptors(ctx context.Context, r *run) finding {
	before := openDescriptors()
	f := lies(ctx, r, "descriptors")
	if grown := openDescriptors() - before; grown > 50 {
		return failed("the host holds %d descriptors more", grown)
	}
	return f
}

func endsLikeNsjail(ctx context.Context, s *scene) finding {
	_, err := s.get(ctx, "/attack/exit_255", attackPatience)
	exit := s.ended(ctx, attackPatience)
	switch {
	case exit == nil:
		return failed("it goes on: %v", err)
	case exit.Reason != sandbox.Crashed || exit.Code != 255:
		return failed("the host made of it: %v %s", exit, exit.Detail)
	}
	return passed("%v", exit)
}

func killsInit(ctx context.Context, s *scene) finding {
	_, err := s.get(ctx, "/attack/kill_init", attackPatience)
	if err == nil {
		err = s.Probe(ctx)
	}
	if exit := s.Exit(); err != nil || exit != nil {
		return failed("%v %v", err, exit)
	}
	return passed("PID 1 lives, and the program still answers")
}

func ignoresStop(ctx context.Context, s *scene) finding {
	if _, err := s.get(ctx, "/attack/ignore", attackPatience); err != nil {
		return failed("%v", err)
	}
	began := time.Now()
	exit := s.Stop(ctx, stopGrace)
	took := time.Since(began)
	switch {
	case exit.Reason != sandbox.Draining || exit.Signal != "SIGKILL" && exit.Signal != "":
		return failed("it ended with %v", exit)
	case took < stopGrace:
		return failed("it ended after %v: the attack did not run", took)
	case took > 10*time.Second:
		return failed("it took %v to end it", took)
	}
	return passed("%s", fmt.Sprintf("ended by force after %.1f s", took.Seconds()))
}
