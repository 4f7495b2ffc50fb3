// Package cli is the command line, and the only package that knows all others: serve.go wires the parts of the server
// together, every other file is a command. It knows neither os.Exit nor signals, but for SIGPIPE in serve; main does.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

// Exit codes of Run.
const (
	exitOK      = 0
	exitFailure = 1 // it was understood and did not work
	exitUsage   = 2 // it was not understood: a flag, an argument, a setting
)

// app is what the commands share: the streams they read and write.
type app struct {
	args   []string // the command line
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// Run carries out one command line, args[0] being the program's name, and returns the process's exit code. When ctx ends,
// the command ends: a server drains, a deploy is given up. Results go to stdout, everything else to stderr.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	err := a.root().Run(ctx, args)
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[*exitStatus](err); ok {
		return status.code
	}
	a.report(err, slices.Contains(args, "--json"))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// report tells people on stderr, and with --json programs on stdout.
func (a *app) report(err error, asJSON bool) {
	if errors.Is(err, errReported) {
		return
	}
	problem := problemOf(err)
	fmt.Fprintf(a.stderr, "apibuilder: %s\n", printable(problem.Error()))
	if problem.Output != "" {
		fmt.Fprintln(a.stderr, printable(problem.Output))
	}
	if problem.Type == deployInternal && problem.RequestID != "" {
		fmt.Fprintf(a.stderr, "request id: %s\n", problem.RequestID)
	}
	if asJSON {
		_ = writeJSON(a.stdout, problem) // the error that counts is told already
	}
}

// deployInternal is the type of a problem whose reason is in the server's log.
const deployInternal = "internal"

func problemOf(err error) *admin.Problem {
	if p, ok := errors.AsType[*admin.Problem](err); ok {
		return p
	}
	if u, ok := errors.AsType[*usageError](err); ok {
		return &admin.Problem{Type: "usage", Title: "The command line is not valid", Detail: u.Error()}
	}
	return &admin.Problem{Type: "failed", Title: "The command failed", Detail: err.Error()}
}

// errReported says that the command has already told what failed.
var errReported = errors.New("failed")

// usageError is a command line or a setting that is wrong in itself.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// root is the tree of commands. Every part of it is made anew for each run, because parsing changes it.
func (a *app) root() *cli.Command {
	root := &cli.Command{
		Name:    "apibuilder",
		Usage:   "serve complete FastAPI programs, each in a sandbox of its own",
		Version: version().Version,
		Flags:   commonFlags(),

		EnableShellCompletion: true,
		Commands: []*cli.Command{
			a.serveCommand(), a.deployCommand(), a.apisCommand(), a.versionsCommand(), a.rollbackCommand(),
			a.trafficCommand(), a.promoteCommand(),
			a.keysCommand(), a.logsCommand(), a.topCommand(), a.openCommand(), a.execCommand(), a.downloadCommand(),
			a.usageCommand(), a.envCommand(), a.pythonCommand(), a.plansCommand(), a.usersCommand(),
			a.tokensCommand(), a.nodesCommand(), a.auditCommand(), a.manCommand(), a.secretsCommand(), a.installCommand(), a.uninstallCommand(), a.sandboxCommand(), a.doctorCommand(), a.importCommand(), a.backupCommand(), a.restoreCommand(), a.versionCommand(),
		},
		Reader: a.stdin, Writer: a.stdout, ErrWriter: a.stderr,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // Run's caller ends the process
	}
	_ = root.Walk(func(c *cli.Command) error {
		c.HideHelpCommand = true           // an API may be called help
		c.DisableSliceFlagSeparator = true // values may hold commas
		c.OnUsageError = func(_ context.Context, cmd *cli.Command, err error, _ bool) error {
			return usagef("%v: see `%s --help`", err, cmd.FullName())
		}
		if c.Action == nil {
			c.Action = group
		}
		return nil
	})
	return root
}

// group answers for a command that is only the beginning of others.
func group(_ context.Context, cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usagef("%s has no command %q: see `%s --help`", cmd.FullName(), cmd.Args().First(), cmd.FullName())
	}
	return cli.ShowSubcommandHelp(cmd)
}

// arguments returns the command's arguments, one for each name, or says what is missing or too much.
func arguments(cmd *cli.Command, names ...string) ([]string, error) {
	args := cmd.Args().Slice()
	switch {
	case len(args) < len(names):
		return nil, usagef("%s needs %s: see `%s --help`", cmd.FullName(), names[len(args)], cmd.FullName())
	case len(args) > len(names):
		return nil, usagef("%s does not take %q: see `%s --help`", cmd.FullName(), args[len(names)], cmd.FullName())
	}
	for i, arg := range args {
		if arg == "" {
			return nil, usagef("%s is empty: see `%s --help`", names[i], cmd.FullName())
		}
	}
	return args, nil
}

// client is the way to the server that the settings name.
func (a *app) client(cmd *cli.Command) (*client.Client, error) {
	settings, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	if server := settings.text("server"); server != "" && !settings.closer("data-dir", "server") {
		c, err := client.Remote(server, settings.text("token"))
		if err != nil {
			return nil, usagef("%v", err)
		}
		return c, nil
	}
	return client.Local(settings.text("data-dir")), nil
}
