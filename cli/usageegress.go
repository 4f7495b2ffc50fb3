package cli

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/store"
)

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
	return showRows(a, cmd, sums, sums.Sums, func(w io.Writer) { describeEgressSums(w, sums) })
}

func describeEgressSums(w io.Writer, sums admin.EgressSums) {
	row(w, append(summedHead(sums.By), "CONNECTIONS", "SENT", "RECEIVED", "REFUSED")...)
	for _, s := range sums.Sums {
		of := summed{start: s.Start, api: s.API, user: s.User, destination: s.Destination}
		row(w, append(of.cells(sums.By), s.Connections, s.BytesSent, s.BytesReceived, s.Refused)...)
	}
}
