package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) usageCommand() *cli.Command {
	return &cli.Command{
		Name:  "usage",
		Usage: "print the newest usage records, sums of them, or how far quotas are used up",
		Description: "Without --by the newest records are printed, and how many there were in all. Sums begin with the whole hour of --since,\n" +
			"by route with the whole day; hours and days are those of UTC. Records are removed after a time (--usage-retention of the server), daily sums never.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "api", Usage: "of the API with that `NAME` or id only; the id of a deleted one is good too"},
			&cli.StringFlag{Name: "request", Aliases: []string{"id"}, Usage: "the record of the request with that `ID`, as in X-Request-ID"},
			&cli.StringFlag{Name: "since", Usage: "since a `TIME`, 2024-05-01T12:00:00Z, or for so long, 24h, 30d"},
			&cli.IntFlag{Name: "limit", Value: 20, Usage: "at most so many records, a `NUMBER`"},
			&cli.StringFlag{Name: "by", Usage: "sums by `WHAT`: hour, day, api, key, user or route; with --egress no key or route, but destination"},
			&cli.StringFlag{Name: "key", Usage: "of the key with that `ID` only"},
			&cli.StringFlag{Name: "user", Usage: "with --by or --egress, of the APIs of the user with that `NAME` only"},
			&cli.BoolFlag{Name: "egress", Usage: "what programs reached outside and were refused, by destination or, with --by, hour, day, api or user"},
			&cli.BoolFlag{Name: "quotas", Usage: "monthly quotas of plans, APIs and keys, and what is used of them"},
			&cli.BoolFlag{Name: "csv", Usage: "print comma-separated values (RFC 4180) with a line of names"},
		},
		Action: a.usage,
	}
}

func (a *app) usage(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	if cmd.Bool("csv") && cmd.Bool("json") {
		return usagef("--csv and --json are both given: leave one out")
	}
	query, err := selection(cmd, time.Now())
	if err != nil {
		return err
	}
	switch {
	case cmd.Bool("egress"):
		return a.usageEgress(ctx, cmd)
	case cmd.Bool("quotas"):
		for _, flag := range []string{"api", "request", "since", "limit", "by", "key", "user"} {
			if cmd.IsSet(flag) {
				return usagef("--quotas are all quotas of this month: leave --%s out", flag)
			}
		}
		return a.usageQuotas(ctx, cmd)
	case cmd.String("by") != "":
		return a.usageSums(ctx, cmd, query)
	case cmd.String("user") != "":
		return usagef("--user needs --by: see `%s --help`", cmd.FullName())
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	usage, err := c.Usage(ctx, query)
	if err != nil {
		return err
	}
	return showRows(a, cmd, usage, usage.Records, func(w io.Writer) { describeUsage(w, usage) })
}

func describeUsage(w io.Writer, usage admin.Usage) {
	row(w, "TIME", "REQUEST", "API", "VERSION", "KEY", "METHOD", "PATH", "ROUTE", "STATUS", "IN", "OUT", "SECONDS", "CPU", "ERROR")
	for _, r := range usage.Records {
		row(w, timeText(r.Time), r.ID, r.API, r.Version, r.Key, r.Method, r.Path, orDash(r.Route), r.Status, r.BytesIn, r.BytesOut,
			fmt.Sprintf("%.3f", r.Seconds), fmt.Sprintf("%.4f", r.CPUSeconds), r.Error)
	}
	fmt.Fprintf(w, "\n%d records in all\n", usage.Total)
}

func (a *app) usageSums(ctx context.Context, cmd *cli.Command, query url.Values) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	query.Del("limit") // of records
	sums, err := c.Sums(ctx, query)
	if err != nil {
		return err
	}
	return showRows(a, cmd, sums, sums.Sums, func(w io.Writer) { describeSums(w, sums) })
}

func describeSums(w io.Writer, sums admin.UsageSums) {
	row(w, append(summedHead(sums.By), "REQUESTS", "REFUSED", "4XX", "5XX", "IN", "OUT", "SECONDS", "CPU")...)
	for _, s := range sums.Sums {
		of := summed{start: s.Start, api: s.API, key: s.Key, user: s.User, route: s.Route}
		row(w, append(of.cells(sums.By), s.Requests, s.Requests-s.Admitted, s.ClientErrors, s.ServerErrors, s.BytesIn, s.BytesOut,
			fmt.Sprintf("%.3f", s.Seconds), fmt.Sprintf("%.3f", s.CPUSeconds))...)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) usageQuotas(ctx context.Context, cmd *cli.Command) error {
	var quotas []admin.QuotaUse
	if err := a.call(ctx, cmd, "GET", client.Path("quotas"), nil, &quotas); err != nil {
		return err
	}
	return showRows(a, cmd, quotas, quotas, func(w io.Writer) {
		row(w, "OF", "ID", "NAME", "USED", "QUOTA", "BEGINS ANEW (UTC)")
		for _, q := range quotas {
			row(w, q.Of, q.ID, q.Name, q.Used, q.Quota, q.ResetsAt.UTC().Format("2006-01-02 15:04"))
		}
	})
}
