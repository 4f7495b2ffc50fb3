package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/urfave/cli/v3"
)

// listFlags are those that select what a list has, and how many at most. Each is the parameter of its name.
func listFlags(filters ...cli.Flag) []cli.Flag {
	return append(filters, &cli.IntFlag{Name: "limit", Usage: "at most so many, a `NUMBER`; all if left out"})
}

// list reads a whole list, or as much of it as the flags of the command say; those in but say something else.
func (a *app) list(ctx context.Context, cmd *cli.Command, path string, into any, but ...string) error {
	query := url.Values{}
	for _, name := range []string{"name", "user", "state", "role", "plan", "public", "limit"} {
		if slices.Contains(cmd.LocalFlagNames(), name) && !slices.Contains(but, name) {
			query.Set(name, fmt.Sprint(cmd.Value(name)))
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return a.call(ctx, cmd, "GET", path, nil, into)
}
