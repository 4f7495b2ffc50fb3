package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/egress"
	"apibuilder/python-env"
	"apibuilder/sandbox"
	"apibuilder/sandbox/selftest"
)

// selfTestStart is how long the program that never starts is waited for, unless --start-timeout says; the others take a second
// or two.
const selfTestStart = 20 * time.Second

// wantsSelfTest tells whether sandbox test is to test the sandbox, and no program.
func wantsSelfTest(cmd *cli.Command) bool {
	aboutProgram := []string{
		"requirements", "env", "python", "memory", "cpu", "pids", "request", "data", "header", "request-timeout", "egress",
	}
	return !cmd.Args().Present() && !slices.ContainsFunc(aboutProgram, cmd.IsSet)
}

func (a *app) selfTest(ctx context.Context, cmd *cli.Command) error {
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	options, err := readHostOptions(settings)
	if err != nil {
		return err
	}
	only := cmd.StringSlice("only")
	if err := selftest.CheckOnly(only); err != nil {
		return usagef("--only: %v", err)
	}
	if err := requireRoot("sandbox test"); err != nil {
		return err
	}
	progress := func(line string) { fmt.Fprintln(a.stderr, printable(line)) }
	var report selftest.Report
	cfg := sandbox.ManagerConfig{StartTimeout: selfTestStart}
	network := selfTestNetwork(&options, &cfg)
	if cmd.IsSet("start-timeout") {
		if cfg.StartTimeout, err = parseTimeout(cmd.String("start-timeout")); err != nil {
			return usagef("--start-timeout: %v", err)
		}
	}
	err = withSandboxes(ctx, settings.text("data-dir"), options, progress, cfg, func(h sandboxHost) error {
		environment, err := h.builder.Ensure(ctx, pythonenv.Request{Progress: progress})
		if err != nil {
			return fmt.Errorf("build the environment: %w", err)
		}
		test := selftest.Config{Launch: h.manager.Launch, Only: only, ControlGroups: h.driver.ControlGroups(), Network: network, Spec: sandbox.Spec{
			Environment: environment.Path, Python: environment.Interpreter.Path, Mounts: environment.Interpreter.Mounts,
		}}
		if !cmd.Bool("json") {
			table := newCheckTable(a.stdout)
			test.Progress = table.add
		}
		report, err = selftest.Run(ctx, test)
		return err
	})
	if err != nil {
		return err
	}
	if err := a.show(cmd, report, func(w io.Writer) { describeSelfTest(w, report) }); err != nil {
		return err
	}
	if !report.OK {
		return errReported
	}
	return nil
}

// selfTestNetwork gives sandboxes a network where this machine can make one; nil where it cannot. The checks try only what must be
// refused by it.
func selfTestNetwork(options *hostOptions, cfg *sandbox.ManagerConfig) *selftest.Network {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return nil
	}
	network := selftest.NewNetwork(&egress.Ceiling{Most: egress.Policy{Internet: true}})
	options.network, cfg.Egress = true, network.Gate()
	return network
}

// checkTable prints checks one by one in columns that fit the whole catalogue.
type checkTable struct {
	w                   io.Writer
	group, tried, stops int
}

func newCheckTable(w io.Writer) *checkTable {
	t := &checkTable{w: w}
	for _, c := range selftest.Checks() {
		t.group, t.tried, t.stops = max(t.group, len(c.Group)), max(t.tried, len(c.Tried)), max(t.stops, len(c.Stops))
	}
	t.line("GROUP", "WHAT WAS TRIED", "WHAT STOPS IT", "VERDICT")
	return t
}

func (t *checkTable) line(group, tried, stops, verdict string) {
	fmt.Fprintf(t.w, "%-*s  %-*s  %-*s  %s\n", t.group, group, t.tried, tried, t.stops, stops, verdict)
}

func (t *checkTable) add(r selftest.Result) {
	t.line(string(r.Group), r.Tried, r.Stops, verdictText(r.Verdict))
	if r.Verdict == selftest.Fail {
		indent(t.w, r.ID+": "+r.Detail)
	}
}

func verdictText(v selftest.Verdict) string {
	switch v {
	case selftest.Pass:
		return "pass"
	case selftest.NotApplicable:
		return "not applicable"
	}
	return "FAIL"
}

func describeSelfTest(w io.Writer, report selftest.Report) {
	fmt.Fprintln(w, "\nThe victim meanwhile")
	row(w, "  BESIDE", "P50", "P99", "REQUESTS", "ERRORS")
	latencyRow(w, "nothing", report.Quiet)
	for _, c := range report.Checks {
		if c.Victim != nil {
			latencyRow(w, c.ID, *c.Victim)
		}
	}
	latencyRow(w, "all of it", report.Beside)
	counts := map[selftest.Verdict]int{}
	var failures []string
	for _, c := range report.Checks {
		counts[c.Verdict]++
		if c.Verdict == selftest.Fail {
			failures = append(failures, c.ID)
		}
	}
	fmt.Fprintf(w, "\nLinux %s, %s, control groups v%d: %d of %d checks passed, %d not applicable, in %.0f s\n", printable(report.Kernel), report.Machine, report.ControlGroups,
		counts[selftest.Pass], len(report.Checks), counts[selftest.NotApplicable], report.Seconds)
	if len(failures) > 0 {
		fmt.Fprintf(w, "FAILED  %s\n", strings.Join(failures, " "))
		return
	}
	fmt.Fprintln(w, "ok")
}

func latencyRow(w io.Writer, beside string, l selftest.Latency) {
	if l.Requests == 0 {
		return
	}
	row(w, "  "+beside, fmt.Sprintf("%.1f ms", l.P50Seconds*1000), fmt.Sprintf("%.1f ms", l.P99Seconds*1000), l.Requests, l.Errors)
}
