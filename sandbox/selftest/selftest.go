// Package selftest shows on a live host that the walls of its sandboxes stand. It runs hostile programs in real sandboxes,
// beside a victim that is asked all the time, and judges by what the host sees wherever the host can see it: what a
// program says of itself counts only as the answer of a call that the host knows to expect. An attack that did not run
// is a failure, never a pass. Every attack stops by itself, so a host without a wall survives it.
//
// The programs are in inside/; Checks lists what they try.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"apibuilder/sandbox"
)

// Group is a part of the catalogue.
type Group string

// The groups.
const (
	Resources Group = "resources" // what a program may use up
	Kernel    Group = "kernel"    // what it may ask the kernel for
	Reach     Group = "reach"     // what it may see and touch outside
	Control   Group = "control"   // what it may tell the host
)

// Groups lists them in the order in which they are checked.
var Groups = []Group{Resources, Kernel, Reach, Control}

// Verdict is the outcome of one check.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	NotApplicable Verdict = "not_applicable" // this machine has nothing to try it on
)

// Check is one entry of the catalogue.
type Check struct {
	ID    string `json:"id"` // stable: group, a dot, a word
	Group Group  `json:"group"`
	Tried string `json:"tried"` // what the program does
	Stops string `json:"stops"` // the walls that stop it
}

// Result is a check with what came of it.
type Result struct {
	Check
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"` // what was seen; it may quote the hostile program
	Seconds float64 `json:"seconds"`
	// Victim is how the other API fared meanwhile; nil for checks that are over in an instant.
	Victim *Latency `json:"victim,omitempty"`
}

// Report is a whole run.
type Report struct {
	OK            bool      `json:"ok"` // no check failed
	Kernel        string    `json:"kernel"`
	Machine       string    `json:"machine"`
	ControlGroups int       `json:"control_groups,omitempty"` // version of the hierarchy, where Config tells it
	Started       time.Time `json:"started"`
	Seconds       float64   `json:"seconds"`
	Checks        []Result  `json:"checks"`
	Quiet         Latency   `json:"quiet"`  // the victim alone
	Beside        Latency   `json:"beside"` // the victim while attacks ran
}

// Config is what a run needs. Launch and Spec are required.
type Config struct {
	// Launch starts one sandbox that the run stops (sandbox.Manager.Launch). Its start timeout bounds how long a program
	// that never starts is waited for.
	Launch func(context.Context, sandbox.Spec) (*sandbox.Instance, error)
	// Spec has an environment with FastAPI; its code, limits and variables are replaced.
	Spec sandbox.Spec
	// Network is what sandboxes of checks about a network have; Launch must be that of a manager with its gate. nil: those checks are
	// not applicable.
	Network *Network
	// Only names groups and checks to run; none means all.
	Only []string
	// Progress is called with every result when it is known, by one goroutine at a time.
	Progress func(Result)
	// ControlGroups is copied to the report.
	ControlGroups int
}

// Checks is the catalogue in the order of a run.
func Checks() []Check {
	var all []Check
	for _, c := range catalogue() {
		all = append(all, c.Check)
	}
	return all
}

// CheckOnly says what is wrong with the words of Config.Only, if anything is.
func CheckOnly(only []string) error {
	_, err := choose(only)
	return err
}

// Run runs the checks that cfg selects. The error says why it could not begin or was given up; a check that fails, for
// whatever reason, is in the report alone. One process makes one run at a time.
func Run(ctx context.Context, cfg Config) (_ Report, err error) {
	selected, err := choose(cfg.Only)
	if err != nil {
		return Report{}, err
	}
	report := Report{
		Machine: runtime.GOARCH, Kernel: kernelRelease(), ControlGroups: cfg.ControlGroups, Started: time.Now().UTC(),
		Checks: []Result{},
	}
	r := &run{cfg: cfg, began: time.Now()}
	if r.bait, err = layBait(); err != nil {
		return Report{}, fmt.Errorf("lay the bait: %w", err)
	}
	defer func() { err = errors.Join(err, r.bait.takeAway()) }()
	quiet := quietTime
	if !slices.ContainsFunc(selected, func(c check) bool { return c.attack }) {
		quiet = 0 // nobody compares with it
	}
	if err := r.startVictim(ctx, quiet); err != nil {
		return Report{}, err
	}
	defer r.victim.stop()
	defer r.endAttacker()
	defer r.endOutsider()
	report.Checks = r.checkAll(ctx, selected)
	if ctx.Err() != nil {
		return Report{}, ctx.Err()
	}
	report.Quiet, report.Beside = r.victim.latency(r.began, r.attacksBegan), r.victim.latency(r.attacksBegan, time.Now())
	report.Seconds = time.Since(report.Started).Seconds()
	report.OK = !slices.ContainsFunc(report.Checks, func(c Result) bool { return c.Verdict == Fail })
	return report, nil
}

// choose finds the checks that the words name.
func choose(only []string) ([]check, error) {
	all := catalogue()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []check
	for _, c := range all {
		if slices.Contains(only, c.ID) || slices.Contains(only, string(c.Group)) {
			chosen = append(chosen, c)
		}
	}
	for _, word := range only {
		if !slices.ContainsFunc(chosen, func(c check) bool { return c.ID == word || string(c.Group) == word }) {
			return nil, fmt.Errorf("there is no check and no group %q: give a group (%s) or the id of a check", word, groupNames())
		}
	}
	return chosen, nil
}

func groupNames() string {
	var names []string
	for _, g := range Groups {
		names = append(names, string(g))
	}
	return strings.Join(names, ", ")
}

// run is one run under way.
type run struct {
	cfg          Config
	bait         *bait
	victim       *victim
	attacker     *scene // the sandbox of all probes; nil before the first
	connected    *scene // that of the probes that have a network; nil before the first
	began        time.Time
	attacksBegan time.Time
}

// check is an entry of the catalogue with its way to a verdict.
type check struct {
	Check
	// judge tries and judges. The victim is looked after by its caller.
	judge  func(ctx context.Context, r *run) finding
	in     judgement // what judge does in a sandbox of the probes; nil for checks with sandboxes of their own
	waits  bool      // judged in the background while the others run, because it waits most of the time
	attack bool      // how the victim fares meanwhile is worth telling
}

// finding is what a check came to.
type finding struct {
	verdict Verdict
	detail  string
}

func passed(format string, args ...any) finding { return finding{Pass, fmt.Sprintf(format, args...)} }

func failed(format string, args ...any) finding { return finding{Fail, fmt.Sprintf(format, args...)} }

// atOnce is how many checks that wait are judged beside the others.
const atOnce = 2

// checkAll runs the checks one after the other, and those that wait beside them. The results are in the catalogue's order.
func (r *run) checkAll(ctx context.Context, checks []check) []Result {
	results := make([]Result, len(checks))
	var progress sync.Mutex
	judge := func(i int) {
		if ctx.Err() != nil { // the run is given up: nothing would be true of what has not run
			return
		}
		result := r.check(ctx, checks[i])
		if ctx.Err() != nil {
			return
		}
		progress.Lock()
		defer progress.Unlock()
		results[i] = result
		if r.cfg.Progress != nil {
			r.cfg.Progress(result)
		}
	}
	var background errgroup.Group
	background.SetLimit(atOnce)
	waiting := make(chan struct{})
	go func() { // Go blocks while atOnce run
		defer close(waiting)
		for i := range checks {
			if checks[i].waits {
				background.Go(func() error { judge(i); return nil })
			}
		}
	}()
	for i := range checks {
		if !checks[i].waits {
			judge(i)
		}
	}
	<-waiting
	_ = background.Wait()
	return results
}

func (r *run) check(ctx context.Context, c check) Result {
	began := time.Now()
	f := c.judge(ctx, r)
	result := Result{Check: c.Check, Verdict: f.verdict, Detail: f.detail, Seconds: time.Since(began).Seconds()}
	latency := r.victim.latency(began, time.Now())
	if c.attack {
		result.Victim = &latency
	}
	if latency.Errors > 0 && result.Verdict != Fail {
		result.Verdict = Fail
		result.Detail = fmt.Sprintf("the victim had %d errors meanwhile: %s", latency.Errors, r.victim.lastError())
	}
	return result
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
