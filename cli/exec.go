package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/deploy"
)

// mostExecLines bounds what --json keeps.
const mostExecLines = 10_000

func (a *app) execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run code once in a sandbox of its own, made like those of an API",
		ArgsUsage: "NAME[@VERSION] FILE [ARG...] | NAME[@VERSION] -- CODE [ARG...]",
		Description: "The code has what the API's program has: its packages, files, environment variables, limits and what it may\n" +
			"reach outside. The program is there to be imported (`from main import app`), and is not started. FILE - reads\n" +
			"standard input. What the code prints comes as it is printed, line by line, as text; its exit code is this\n" +
			"command's: 124 when its time was over, 137 when it was killed, for too much memory for example. Arguments that\n" +
			"look like flags come after --.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "time", Value: "60s", Usage: "`TIME` that it may take, at most 1h"}},
		Action: a.exec,
	}
}

func (a *app) exec(ctx context.Context, cmd *cli.Command) error {
	request, name, err := a.execRequest(cmd)
	if err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	out := execOutput{app: a, json: cmd.Bool("json"), Lines: []admin.ExecLine{}}
	var last admin.ExecEvent
	err = client.Lines(ctx, c, http.MethodPost, client.Path("apis", name, "exec"), request, func(e admin.ExecEvent) error {
		last = e
		if e.Line == nil {
			return nil
		}
		return out.line(*e.Line)
	})
	switch {
	case err != nil:
		return err
	case last.Error != nil:
		return last.Error
	case last.Result == nil:
		return errors.New("the server went away while the code ran")
	}
	return out.end(last.Result)
}

// execRequest reads the arguments. Where -- comes right after NAME, code follows.
func (a *app) execRequest(cmd *cli.Command) (r admin.ExecRequest, name string, err error) {
	args := cmd.Args().Slice()
	if len(args) < 2 || args[0] == "" {
		return r, "", usagef("%s needs NAME and FILE, or NAME -- CODE: see `%s --help`", cmd.FullName(), cmd.FullName())
	}
	if name, r.Version, err = apiVersion(args[0]); err != nil {
		return r, "", err
	}
	limit, err := parseTimeout(cmd.String("time"))
	if err != nil {
		return r, "", usagef("--time: %v", err)
	}
	r.Seconds = limit.Seconds()
	dashes := slices.Index(a.args, "--")
	if dashes >= 0 && len(args)-len(a.args[dashes+1:]) == 1 {
		r.Code, r.Args = args[1], append([]string{"-c"}, args[2:]...)
		return r, name, nil
	}
	r.Args = append([]string{filepath.Base(args[1])}, args[2:]...)
	r.Code, err = a.readText(args[1], deploy.MaxCodeBytes)
	return r, name, err
}

// execOutput passes on what code prints, and keeps it for --json.
type execOutput struct {
	app  *app
	json bool

	*admin.ExecResult
	Lines []admin.ExecLine `json:"lines"`
}

func (o *execOutput) line(l admin.ExecLine) error {
	if o.json {
		if len(o.Lines) < mostExecLines {
			o.Lines = append(o.Lines, l)
		}
		return nil
	}
	to := o.app.stdout
	if l.Stream != "stdout" {
		to = o.app.stderr
	}
	if isTerminal(to) {
		l.Text = printable(l.Text)
	}
	_, err := fmt.Fprintln(to, l.Text)
	return err
}

// end tells how the code ended, and makes that the command's end.
func (o *execOutput) end(r *admin.ExecResult) error {
	if o.json {
		o.ExecResult = r
		if err := writeJSON(o.app.stdout, o); err != nil {
			return err
		}
	} else if r.Reason != "finished" {
		fmt.Fprintf(o.app.stderr, "apibuilder: the code was ended: %s: %s\n", r.Reason, printable(r.Detail))
	}
	if r.ExitCode != 0 {
		return &exitStatus{r.ExitCode}
	}
	return nil
}

// exitStatus is the exit code of what a command ran, which has told what there is to tell.
type exitStatus struct{ code int }

func (e *exitStatus) Error() string { return fmt.Sprintf("exit code %d", e.code) }
