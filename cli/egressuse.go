package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/egress"
	"apibuilder/metrics"
	"apibuilder/python-env"
	"apibuilder/store"
	"apibuilder/usage"
)

// openEgressSums has the store keep what programs and builds reach, and what they are refused.
func (s *server) openEgressSums() {
	s.egressSums = usage.NewEgress(s.store, func() (uses []store.EgressUse) {
		for _, u := range append(s.manager.EgressUses(), s.host.builder.EgressUses()...) {
			uses = append(uses, egressUse(u))
		}
		return uses
	}, s.log.Named("usage"))
	s.egressSums.Start()
	s.onStop("sums of outgoing network", s.egressSums.Stop)
}

func egressUse(u egress.Use) store.EgressUse {
	return store.EgressUse{APIID: u.API, To: u.To, Connections: u.Connections, Sent: u.Sent, Received: u.Received, Refused: u.Refused}
}

// flushUsage brings everything that is counted into the store.
func (s *server) flushUsage(ctx context.Context) error {
	return errors.Join(s.journal.Flush(ctx), s.egressSums.Flush(ctx))
}

// eachEgress tells what every API's programs, and builds, reached since the server started.
func (s *server) eachEgress(each func(metrics.Egress)) {
	reports := map[string]egress.Report{pythonenv.Egress: s.host.builder.Reached()}
	for _, api := range s.manager.EgressAPIs() {
		reports[api] = s.manager.Egress(api)
	}
	for api, report := range reports {
		e := metrics.Egress{API: api, Open: report.Open}
		for _, d := range report.Destinations {
			e.Destinations = append(e.Destinations, metrics.Destination{
				To: d.To, Connections: d.Connections, Sent: d.Sent, Received: d.Received, Refused: d.Refused,
			})
		}
		each(e)
	}
}

func (a *app) usageEgress(ctx context.Context, cmd *cli.Command) error {
	for _, flag := range []string{"request", "key", "quotas", "limit"} {
		if cmd.IsSet(flag) {
			return usagef("--egress goes with --api, --user, --since and --by: leave --%s out", flag)
		}
	}
	query, err := selection(cmd, time.Now())
	if err != nil {
		return err
	}
	query.Del("limit")
	if query.Get("by") == "" {
		query.Set("by", string(store.EgressByDestination))
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	sums, err := c.EgressSums(ctx, query)
	if err != nil {
		return err
	}
	if cmd.Bool("csv") {
		return writeCSV(a.stdout, sums.Sums)
	}
	return a.show(cmd, sums, func(w io.Writer) { describeEgressSums(w, sums) })
}

func describeEgressSums(w io.Writer, sums admin.EgressSums) {
	head := map[string][]any{
		"hour": {"HOUR (UTC)"}, "day": {"DAY (UTC)"}, "api": {"API"}, "user": {"USER"}, "destination": {"API", "DESTINATION"},
	}[sums.By]
	row(w, append(head, "CONNECTIONS", "SENT", "RECEIVED", "REFUSED")...)
	for _, s := range sums.Sums {
		var cells []any
		switch sums.By {
		case "hour":
			cells = []any{s.Start.UTC().Format("2006-01-02 15:04")}
		case "day":
			cells = []any{s.Start.UTC().Format("2006-01-02")}
		case "api":
			cells = []any{s.API}
		case "user":
			cells = []any{orDash(s.User)}
		case "destination":
			cells = []any{s.API, printable(s.Destination)}
		}
		row(w, append(cells, s.Connections, s.BytesSent, s.BytesReceived, s.Refused)...)
	}
}
