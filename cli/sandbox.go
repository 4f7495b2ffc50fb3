package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"apibuilder/admin"
	"apibuilder/bundle"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
	"apibuilder/store"
)

func (a *app) sandboxCommand() *cli.Command {
	calls := &callFlags{}
	return &cli.Command{
		Name:  "sandbox",
		Usage: "try programs in a sandbox without a server",
		Commands: []*cli.Command{{
			Name:      "test",
			Usage:     "run a program once, in exactly the sandbox that serve would use; without FILE, test the sandbox itself",
			ArgsUsage: "[FILE | FOLDER | ARCHIVE.zip]",
			Description: "With FILE: builds the environment, starts the program, lists its routes, sends one request to every route that needs\n" +
				"no input and those given by --request, and prints what it needed and what it printed. Fails when the\n" +
				"program does not start or answers with a server error. Needs root, and shares tools and environments with\n" +
				"the server of the data directory.\n" +
				"Without FILE: runs hostile programs in real sandboxes beside a victim API, and prints what was tried, what\n" +
				"stopped it and the verdict, then how the victim fared. Fails when any check does.",
			Flags: append(slices.Concat(programFlags(), calls.flags(), egressFlags()),
				&cli.StringFlag{Name: "egress", Usage: "with FILE: what the program may reach outside, a `LIST` as in an API's option egress, within --egress-ceiling"},
				&cli.StringSliceFlag{Name: "only", Usage: "without FILE: `GROUP_OR_ID` of checks to run, may be given several times"},
				&cli.StringFlag{Name: "start-timeout", Value: "30s", Usage: "`TIME` that the program may take to start"},
				&cli.StringFlag{Name: "request-timeout", Value: "60s", Usage: "`TIME` that it may take to begin an answer"},
			),
			Action: func(ctx context.Context, cmd *cli.Command) error {
				if wantsSelfTest(cmd) {
					return a.selfTest(ctx, cmd)
				}
				return a.sandboxTest(ctx, cmd, calls)
			},
		}},
	}
}

func (a *app) sandboxTest(ctx context.Context, cmd *cli.Command, calls *callFlags) error {
	program, err := a.program(cmd)
	if err != nil {
		return err
	}
	if calls.err != nil {
		return calls.err
	}
	if cmd.IsSet("only") {
		return usagef("--only selects checks of the self-test: leave out FILE, or --only")
	}
	t := &trial{program: program.DeployRequest, calls: calls.calls}
	if t.startTimeout, err = parseTimeout(cmd.String("start-timeout")); err != nil {
		return usagef("--start-timeout: %v", err)
	}
	if t.requestTimeout, err = parseTimeout(cmd.String("request-timeout")); err != nil {
		return usagef("--request-timeout: %v", err)
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	options, err := readHostOptions(settings)
	if err != nil {
		return err
	}
	if err := t.reach(cmd.String("egress"), settings, &options); err != nil {
		return err
	}
	if err := requireRoot("sandbox test"); err != nil {
		return err
	}
	t.progress = func(line string) { fmt.Fprintln(a.stderr, printable(line)) }
	report, err := a.try(ctx, t, settings.text("data-dir"), options)
	if err != nil {
		return err
	}
	if err := a.show(cmd, report, func(w io.Writer) { report.describe(w) }); err != nil {
		return err
	}
	if !report.OK {
		return errReported
	}
	return nil
}

// try runs one trial on this machine and cleans up after it.
func (a *app) try(ctx context.Context, t *trial, dir string, options hostOptions) (report *trialReport, err error) {
	manager := sandbox.ManagerConfig{StartTimeout: t.startTimeout, OnOutput: t.output.add, Egress: t.gate}
	err = withSandboxes(ctx, dir, options, t.progress, manager, func(h sandboxHost) (err error) {
		t.shelf = h.shelf
		report, err = t.run(ctx, h.builder, h.manager)
		return err
	})
	return report, err
}

// sandboxHost is this machine while sandboxes can be made on it.
type sandboxHost struct {
	*host
	driver  *nsjail.Driver
	shelf   *bundle.Shelf
	manager *sandbox.Manager
}

// withSandboxes prepares this machine for sandboxes beside a running server's, calls fn, and cleans up after it.
func withSandboxes(ctx context.Context, dir string, options hostOptions, progress func(string), cfg sandbox.ManagerConfig, fn func(sandboxHost) error) (err error) {
	data, err := openDataDir(dir)
	if err != nil {
		return err
	}
	place, free, err := takePlace(data.join("trials"))
	if err != nil {
		return err
	}
	defer free()
	h, err := openHost(ctx, data, place, 0, options, progress)
	if err != nil {
		return err
	}
	stopCtx := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	}
	defer func() {
		ctx, cancel := stopCtx()
		defer cancel()
		err = errors.Join(err, h.stop(ctx))
	}()
	driver := h.driver(place)
	cfg.Driver = driver
	manager := sandbox.NewManager(cfg)
	if err := manager.Start(ctx); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := stopCtx()
		defer cancel()
		err = errors.Join(err, manager.Stop(ctx))
	}()
	return fn(sandboxHost{h, driver, data.shelf(), manager})
}

// places is how many trials may run on one data directory at a time.
const places = 16

// takePlace finds a directory that no running trial uses. Its name is used again and again, so that what a killed trial
// left is found and ended by a later one.
func takePlace(dir string) (path string, free func(), err error) {
	if err := makePassable(dir); err != nil {
		return "", nil, fmt.Errorf("make a place for the trial: %w", err)
	}
	for i := range places {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := errors.Join(makePassable(path), os.Chmod(dir, 0o711), os.Chmod(path, 0o711)); err != nil { // a program from before heeded the umask
			return "", nil, fmt.Errorf("make a place for the trial: %w", err)
		}
		file, err := os.Open(path)
		if err != nil {
			return "", nil, fmt.Errorf("make a place for the trial: %w", err)
		}
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return path, func() { file.Close() }, nil
		}
		file.Close()
	}
	return "", nil, fmt.Errorf("%d trials run already: wait for one to end", places)
}

func programLimits(l admin.Limits) store.Limits {
	return store.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids}
}

func programSandboxLimits(l admin.Limits) sandbox.Limits {
	return sandbox.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids}
}

// since is how long ago t was, in seconds.
func since(t time.Time) float64 { return time.Since(t).Seconds() }
