package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) usageCommand() *cli.Command {
	return &cli.Command{
		Name:  "usage",
		Usage: "print the newest usage records and how many there are",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "api", Usage: "of the API with that `NAME` or id only"},
			&cli.StringFlag{Name: "id", Usage: "the record of the request with that `ID`"},
			&cli.StringFlag{Name: "since", Usage: "since a `TIME`, 2024-05-01T12:00:00Z, or for so long, 24h"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most so many records, a `NUMBER`"},
		},
		Action: a.usage,
	}
}

func (a *app) usage(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	query := url.Values{"limit": {strconv.Itoa(cmd.Int("limit"))}}
	for _, name := range []string{"api", "id"} {
		if cmd.String(name) != "" {
			query.Set(name, cmd.String(name))
		}
	}
	if text := cmd.String("since"); text != "" {
		since, err := parseSince(text, time.Now())
		if err != nil {
			return usagef("--since: %v", err)
		}
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	var usage admin.Usage
	if err := a.call(ctx, cmd, "GET", client.Path("usage")+"?"+query.Encode(), nil, &usage); err != nil {
		return err
	}
	return a.show(cmd, usage, func(w io.Writer) { describeUsage(w, usage) })
}

func describeUsage(w io.Writer, usage admin.Usage) {
	row(w, "TIME", "REQUEST", "API", "VERSION", "KEY", "METHOD", "PATH", "STATUS", "IN", "OUT", "SECONDS", "ERROR")
	for _, r := range usage.Records {
		row(w, timeText(r.Time), r.ID, r.API, r.Version, r.Key, r.Method, r.Path, r.Status, r.BytesIn, r.BytesOut,
			fmt.Sprintf("%.3f", r.Seconds), r.Error)
	}
	fmt.Fprintf(w, "\n%d records in all\n", usage.Total)
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2024-05-01T12:00:00Z or 24h", text)
}
