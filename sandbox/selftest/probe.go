package selftest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"apibuilder/sandbox"
)

var probeLimits = sandbox.Limits{MemoryBytes: 192 << 20, CPU: 1, Pids: 48, TmpBytes: 16 << 20}

const probePatience = 20 * time.Second

// Words of a program for what came of a try.
const (
	allowed       = "allowed"
	notApplicable = "not applicable"
)

// seen is what a probe answers: what it tried, and what came of it.
type seen map[string]string

// probes returns the sandbox in which probes run, a new one when the last has ended.
func (r *run) probes(ctx context.Context) (*scene, error) {
	if r.attacker != nil && r.attacker.Exit() == nil {
		return r.attacker, nil
	}
	r.endAttacker()
	s, err := r.launch(ctx, launch{files: []string{"kernel", "privilege", "reach", "limits"}, limits: probeLimits})
	if err != nil {
		return nil, fmt.Errorf("start the program of the probes: %w", err)
	}
	r.attacker = s
	return s, nil
}

func (r *run) endAttacker() {
	if r.attacker != nil {
		r.attacker.end()
		r.attacker = nil
	}
}

// judgement tries something in a sandbox of the probes, and judges it.
type judgement func(ctx context.Context, r *run, s *scene) finding

// withoutNetwork makes a check that is judged in the sandbox without a network.
func withoutNetwork(id, tried, stops string, in judgement) check {
	c := newCheck(id, tried, stops, func(ctx context.Context, r *run) finding {
		attacker, err := r.probes(ctx)
		if err != nil {
			return failed("%v", err)
		}
		return in(ctx, r, attacker)
	})
	c.in = in
	return c
}

// probe makes a check of a probe: it passes when the probe ran and offences finds nothing in what it saw.
func probe(id, tried, stops string, offences func(r *run, s seen) []string) check {
	return withoutNetwork(id, tried, stops, probing(id, offences))
}

func probing(id string, offences func(r *run, s seen) []string) judgement {
	return func(ctx context.Context, r *run, s *scene) finding {
		r.cfg.Network.forget()
		answer, err := ask[seen](ctx, s, "/probe/"+id, probePatience)
		if err != nil {
			return failed("the probe did not run: %v", err)
		}
		return r.judge(answer, offences)
	}
}

// judge leaves what could not be tried here to the verdict only when nothing else was tried.
func (r *run) judge(s seen, offences func(r *run, s seen) []string) finding {
	tried := len(s)
	maps.DeleteFunc(s, func(name, came string) bool {
		return came == notApplicable || came == "EAFNOSUPPORT" && needsIPv6(name)
	})
	switch {
	case tried == 0:
		return failed("the probe tried nothing")
	case len(s) == 0:
		return finding{NotApplicable, "this machine has nothing to try it on"}
	}
	if found := offences(r, s); len(found) > 0 {
		slices.Sort(found)
		return failed("%s", strings.Join(found, ", "))
	}
	return passed("%s", s)
}

// needsIPv6 reports whether a target is an IPv6 address and this kernel has no IPv6, so that no program can try it.
func needsIPv6(target string) bool {
	to, err := netip.ParseAddrPort(target)
	_, missing := os.Stat("/proc/sys/net/ipv6")
	return err == nil && to.Addr().Is6() && missing != nil
}

// String is the tries grouped by what came of them.
func (s seen) String() string {
	byOutcome := map[string][]string{}
	for name, came := range s {
		byOutcome[came] = append(byOutcome[came], name)
	}
	var parts []string
	for _, came := range slices.Sorted(maps.Keys(byOutcome)) {
		names := byOutcome[came]
		slices.Sort(names)
		if len(names) > 8 {
			names = append(names[:8:8], fmt.Sprintf("%d more", len(names)-8))
		}
		parts = append(parts, came+": "+strings.Join(names, " "))
	}
	return strings.Join(parts, "; ")
}

// refused wants every try to end in one of the given ways.
func refused(ways ...string) func(*run, seen) []string {
	return func(_ *run, s seen) []string {
		var found []string
		for name, came := range s {
			if !slices.Contains(ways, came) {
				found = append(found, name+": "+came)
			}
		}
		return found
	}
}

// also adds what the host sees to what the program says.
func also(offences func(*run, seen) []string, host func(*run) string) func(*run, seen) []string {
	return func(r *run, s seen) []string {
		found := offences(r, s)
		if text := host(r); text != "" {
			found = append(found, text)
		}
		return found
	}
}

// unvisited wants that nobody came to a bait.
func unvisited(name string) func(*run) string {
	return func(r *run) string {
		if n := r.bait.visited(name); n > 0 {
			return fmt.Sprintf("the host was reached %d times", n)
		}
		return ""
	}
}

// byHost makes a check of what the host sees of every process in the probes' sandbox.
func byHost(id, tried, stops string, offence func(r *run, p process) (string, error)) check {
	return withoutNetwork(id, tried, stops, hostSees(offence))
}

func hostSees(offence func(r *run, p process) (string, error)) judgement {
	return func(_ context.Context, r *run, s *scene) finding {
		all, err := s.all()
		if err != nil {
			return failed("%v", err)
		}
		var found []string
		for _, p := range all {
			text, err := offence(r, p)
			switch {
			case errors.Is(err, errNotApplicable):
				return finding{NotApplicable, err.Error()}
			case err != nil:
				found = append(found, fmt.Sprintf("process %d: %v", p.pid, err))
			case text != "":
				found = append(found, fmt.Sprintf("process %d: %s", p.pid, text))
			}
		}
		if len(found) > 0 {
			slices.Sort(found)
			return failed("%s", strings.Join(found, ", "))
		}
		return passed("so the host says of %d processes", len(all))
	}
}

var errNotApplicable = errors.New("this kernel has nothing of the kind")

func newCheck(id, tried, stops string, judge func(context.Context, *run) finding) check {
	group, _, _ := strings.Cut(id, ".")
	return check{Check: Check{ID: id, Group: Group(group), Tried: tried, Stops: stops}, judge: judge}
}

func catalogue() []check {
	kernel, reach, network := slices.Concat(kernelChecks(), privilegeChecks()), reachChecks(), networkChecks()
	return slices.Concat(resourceChecks(), limitProbes(), kernel, again(kernel), connectedKernelChecks(),
		reach, network, outsideChecks(), again(reach), again(network), controlChecks())
}
