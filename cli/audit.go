package cli

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "print what was changed through the management API, by whom, and what came of it; the newest first",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "api", Usage: "about the API with that `NAME` or id only; the id of a deleted one is good too"},
			&cli.StringFlag{Name: "since", Usage: "since a `TIME`, 2024-05-01T12:00:00Z, or for so long, 24h"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most so many, a `NUMBER`"},
		},
		Action: a.audit,
	}
}

func (a *app) audit(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	query, err := selection(cmd, time.Now())
	if err != nil {
		return err
	}
	var entries []admin.AuditEntry
	if err := a.call(ctx, cmd, "GET", client.Path("audit")+"?"+query.Encode(), nil, &entries); err != nil {
		return err
	}
	return a.show(cmd, entries, func(w io.Writer) {
		row(w, "TIME", "TOKEN", "ROLE", "METHOD", "PATH", "API", "STATUS", "ERROR", "REQUEST")
		for _, e := range entries {
			token := e.Token
			if token == "" {
				token = "root"
			}
			row(w, timeText(e.Time), token, e.Role, e.Method, e.Path, e.API, e.Status, e.Error, e.RequestID)
		}
	})
}
