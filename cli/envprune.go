package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"
)

func (a *app) envPruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "remove environments that nobody uses", Action: a.pruneEnvironments,
		Description: "Needs root, and the data directory on this machine. An environment that any version uses stays, and so does\n" +
			"one that was asked for within the last hour. The server does the same every hour, by its settings.",
		Flags: append(databaseFlags(),
			&cli.StringFlag{Name: "keep", Usage: "`TIME` for which one that nobody uses stays; the setting env-keep if left out"},
			&cli.StringFlag{Name: "max-size", Usage: "`SIZE` of all above which unused ones go; the setting env-max-size if left out"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would go"},
		),
	}
}

func (a *app) pruneEnvironments(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	e, err := a.environments(ctx, cmd, "env prune")
	if err != nil {
		return err
	}
	policy := e.options.policy()
	policy.InUse, policy.DryRun = inUse(e.users), cmd.Bool("dry-run")
	if cmd.IsSet("keep") {
		if policy.Keep, err = parseKeep(cmd.String("keep")); err != nil {
			return usagef("--keep: %v", err)
		}
	}
	if cmd.IsSet("max-size") {
		if policy.MaxBytes, err = parseSize(cmd.String("max-size")); err != nil {
			return usagef("--max-size: %v", err)
		}
	}
	gone, err := e.builder.Prune(ctx, policy)
	if err != nil {
		return err
	}
	out := []environmentOut{}
	var bytes int64
	for _, g := range gone {
		out = append(out, e.out(g.Info, g.Reason))
		bytes += g.Bytes
	}
	return a.show(cmd, out, func(w io.Writer) {
		if len(out) > 0 {
			environmentRows(w, out)
		}
		verb := "removed"
		if policy.DryRun {
			verb = "to remove"
		}
		fmt.Fprintf(w, "%d environments %s, with files of %s\n", len(out), verb, mib(bytes))
	})
}
