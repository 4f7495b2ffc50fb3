package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/store"
)

func (a *app) trafficCommand() *cli.Command {
	return &cli.Command{
		Name: "traffic", Usage: "split an API's requests among versions by weight", ArgsUsage: "NAME [vN=WEIGHT...]", Action: a.traffic,
		Description: "`apibuilder traffic NAME v7=90 v8=10` sends one request in ten to version 8. Each version must have been ready\n" +
			"before, and the active one must be among them. What does not run is started first and must answer; if it does not,\n" +
			"nothing changes. `promote` gives all requests to one version; so do the next deploy and a rollback. Without\n" +
			"weights, the command tells where requests go.",
	}
}

func (a *app) traffic(ctx context.Context, cmd *cli.Command) error {
	args := cmd.Args().Slice()
	if len(args) == 0 {
		return usagef("traffic needs NAME, and takes weights like v7=90 v8=10")
	}
	var body admin.Traffic
	for _, text := range args[1:] {
		share, err := parseShare(text)
		if err != nil {
			return err
		}
		body.Shares = append(body.Shares, share)
	}
	var api admin.API
	var err error
	if len(body.Shares) == 0 {
		err = a.call(ctx, cmd, "GET", client.Path("apis", args[0]), nil, &api)
	} else {
		err = a.call(ctx, cmd, "PUT", client.Path("apis", args[0], "traffic"), body, &api)
	}
	if err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { trafficRows(w, api) })
}

// parseShare reads v7=90.
func parseShare(text string) (admin.Share, error) {
	version, weight, ok := strings.Cut(text, "=")
	share := admin.Share{}
	var err error
	if share.Version, err = parseVersion(version); err == nil && ok {
		share.Weight, err = strconv.Atoi(weight)
	}
	if err != nil || !ok || share.Weight < 0 || share.Weight > store.MaxWeight {
		return share, usagef("%q is no share: write a version and a weight from 0 to %d, for example v7=90", text, store.MaxWeight)
	}
	return share, nil
}

// parseVersion reads v7 or 7.
func parseVersion(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "v"))
	if err != nil || n < 1 {
		return 0, usagef("%q is no version: write its number, for example v7; see `apibuilder versions NAME`", text)
	}
	return n, nil
}

func (a *app) promoteCommand() *cli.Command {
	return &cli.Command{
		Name: "promote", Usage: "give all of an API's requests to one version: the newest of its split, or VERSION",
		ArgsUsage: "NAME [VERSION]", Action: a.promote,
	}
}

func (a *app) promote(ctx context.Context, cmd *cli.Command) error {
	args := cmd.Args().Slice()
	if len(args) < 1 || len(args) > 2 {
		return usagef("promote needs NAME, and takes VERSION")
	}
	var body admin.Promotion
	if len(args) == 2 {
		var err error
		if body.Version, err = parseVersion(args[1]); err != nil {
			return err
		}
	}
	tag := ""
	if body.Version == 0 { // the newest of the split as it is now
		var err error
		if tag, err = a.tag(ctx, cmd, client.Path("apis", args[0])); err != nil {
			return err
		}
	}
	var api admin.API
	if err := a.callIf(ctx, cmd, "POST", client.Path("apis", args[0], "promote"), tag, body, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { trafficRows(w, api) })
}

// trafficRows says where an API's requests go.
func trafficRows(w io.Writer, api admin.API) {
	if len(api.Traffic) == 0 {
		row(w, api.Name, "serves version", api.ActiveVersion)
	}
	for _, s := range api.Traffic {
		row(w, api.Name, "version", s.Version, trafficText(api, s.Version))
	}
	if api.Notice != "" {
		row(w, api.Name, printable(api.Notice))
	}
}

// trafficText is the part of the requests that a version gets; empty when it gets none.
func trafficText(api admin.API, version int) string {
	all, weight := 0, 0
	for _, s := range api.Traffic {
		all += s.Weight
		if s.Version == version {
			weight = s.Weight
		}
	}
	switch {
	case all == 0 && version == api.ActiveVersion && version != 0:
		return "100%"
	case weight == 0:
		return ""
	}
	return strconv.FormatFloat(100*float64(weight)/float64(all), 'g', 3, 64) + "%"
}

func instanceRows(w io.Writer, api admin.API) {
	if len(api.Instances) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "INSTANCE OF", "STATE", "IN FLIGHT", "MEMORY", "SINCE")
	for _, i := range api.Instances {
		memory, since := "", ""
		if i.MemoryBytes > 0 {
			memory = fmt.Sprintf("%d MiB", i.MemoryBytes>>20)
		}
		if i.Started != nil {
			since = timeText(*i.Started)
		}
		row(w, fmt.Sprintf("v%d", i.Version), i.State, i.InFlight, memory, since)
	}
}
