package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print what an API's program printed",
		ArgsUsage: "NAME",
		Description: "What could command a terminal is written out, as in \\x1b; --json gives the text as it is. With --json and\n" +
			"--follow there is one JSON document a line, without --follow one array.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until interrupted"},
			&cli.IntFlag{Name: "tail", Aliases: []string{"n"}, Value: 100, Usage: "begin with the newest `NUMBER` of lines"},
		},
		Action: a.logs,
	}
}

func (a *app) logs(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	follow, asJSON := cmd.Bool("follow"), cmd.Bool("json")
	path := fmt.Sprintf("%s?tail=%d&follow=%t", client.Path("apis", args[0], "logs"), cmd.Int("tail"), follow)
	all := []admin.LogLine{}
	err = client.Lines(ctx, c, http.MethodGet, path, nil, func(l admin.LogLine) error {
		switch {
		case asJSON && follow:
			return writeJSON(a.stdout, l)
		case asJSON:
			all = append(all, l)
			return nil
		}
		_, err := fmt.Fprintf(a.stdout, "%s v%d %-6s  %s\n", timeText(l.Time), l.Version, l.Stream, printable(l.Text))
		return err
	})
	if ctx.Err() != nil && follow {
		return nil // interrupted, as it must be
	}
	if err != nil || !asJSON || follow {
		return err
	}
	return writeJSON(a.stdout, all)
}
