package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/logs"
)

// Lines that are printed where no number is given: the newest ones, or all of a span that is named.
const linesByDefault, linesOfASpan = 100, 10_000

func (a *app) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what an API's program printed, and what happened to it",
		ArgsUsage: "NAME",
		Description: "Flags that choose lines may be combined. What could command a terminal is written out, as in \\x1b; --json gives\n" +
			"the text as it is. With --json and --follow there is one JSON document a line, without --follow one array.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until interrupted, also when the server is started again"},
			&cli.IntFlag{
				Name: "limit", Aliases: []string{"n", "tail"}, DefaultText: fmt.Sprintf("%d, with --since %d", linesByDefault, linesOfASpan),
				Usage: "begin with the newest `NUMBER` of lines",
			},
			&cli.StringFlag{Name: "since", Usage: "since a `TIME`, 2024-05-01T12:00:00Z, or for so long, 10m, 7d"},
			&cli.StringFlag{Name: "until", Usage: "before a `TIME`, written as that of --since"},
			&cli.StringFlag{Name: "level", Usage: "at least of this `LEVEL`: " + strings.Join(logs.Levels, ", ")},
			&cli.StringFlag{Name: "grep", Usage: "that this regular `EXPRESSION` matches, in RE2's syntax"},
			&cli.StringFlag{Name: "request", Usage: "of the request with this `ID`, as in X-Request-ID"},
			&cli.StringFlag{Name: "stream", Usage: "of the program's `STREAM`: stdout or stderr"},
			&cli.StringFlag{Name: "source", Usage: "from these `SOURCES`, apart by commas: " + strings.Join(logs.Sources, ", ")},
			&cli.IntFlag{Name: "version", Usage: "of the version with this `NUMBER`"},
		},
		Action: a.logs,
	}
}

func (a *app) logs(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	query, err := logsQuery(cmd, time.Now())
	if err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	if cmd.Bool("follow") {
		return a.followLogs(ctx, cmd, c, args[0], query)
	}
	all := []admin.LogLine{} // taken before any is shown: the server does not wait for who pages through them
	err = client.Lines(ctx, c, http.MethodGet, client.Path("apis", args[0], "logs")+"?"+query.Encode(), nil, func(l admin.LogLine) error {
		all = append(all, l)
		return nil
	})
	if err == nil && cmd.Bool("json") {
		return writeJSON(a.stdout, all)
	}
	for _, l := range all { // what came before an error, too
		if err := writeLogLine(a.stdout, l); err != nil {
			return err
		}
	}
	return err
}

func (a *app) followLogs(ctx context.Context, cmd *cli.Command, c *client.Client, api string, query url.Values) error {
	away := func() { fmt.Fprintln(a.stderr, "the server went away: waiting for it to come back") }
	err := client.FollowLogs(ctx, c, api, query, away, func(l admin.LogLine) error {
		if cmd.Bool("json") {
			return writeJSON(a.stdout, l)
		}
		return writeLogLine(a.stdout, l)
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // interrupted, as it must be
	}
	return err
}

// writeLogLine writes one line, or of what the platform says several: those that follow are indented, so that a program's
// traceback in them looks like no line of its own.
func writeLogLine(w io.Writer, l admin.LogLine) error {
	version := ""
	if l.Version > 0 {
		version = fmt.Sprintf("v%d ", l.Version)
	}
	text := strings.ReplaceAll(printable(strings.TrimRight(l.Text, "\n")), "\n", "\n    ")
	_, err := fmt.Fprintf(w, "%s %s%-6s  %s\n", timeText(l.Time), version, l.Stream, text)
	return err
}

// logsQuery checks what can be checked here: what is wrong with levels, patterns and the like the server tells.
func logsQuery(cmd *cli.Command, now time.Time) (url.Values, error) {
	query := url.Values{}
	limit := linesByDefault
	for _, name := range []string{"since", "until"} {
		text := cmd.String(name)
		if text == "" {
			continue
		}
		at, err := parseMoment(text, now, true)
		if err != nil {
			return nil, usagef("--%s: %v", name, err)
		}
		query.Set(name, at.UTC().Format(time.RFC3339Nano))
		if name == "since" {
			limit = linesOfASpan
		}
	}
	if cmd.IsSet("limit") {
		limit = cmd.Int("limit")
	}
	query.Set("limit", strconv.Itoa(limit))
	for _, name := range []string{"level", "grep", "request", "stream", "source"} {
		if text := cmd.String(name); text != "" {
			query.Set(name, text)
		}
	}
	if cmd.IsSet("version") {
		if cmd.Int("version") < 1 {
			return nil, usagef("--version: %d is no version: write its number, see `apibuilder versions`", cmd.Int("version"))
		}
		query.Set("version", strconv.Itoa(cmd.Int("version")))
	}
	return query, nil
}
