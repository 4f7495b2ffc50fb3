package cli

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) sleepCommand() *cli.Command {
	return &cli.Command{
		Name: "sleep", Usage: "end an API's program until the next request", ArgsUsage: "NAME",
		Action: func(ctx context.Context, cmd *cli.Command) error { return a.lifecycle(ctx, cmd, "sleep", "sleeps") },
	}
}

func (a *app) wakeCommand() *cli.Command {
	return &cli.Command{
		Name: "wake", Usage: "start an API's program before anybody asks for it", ArgsUsage: "NAME",
		Action: func(ctx context.Context, cmd *cli.Command) error { return a.lifecycle(ctx, cmd, "wake", "runs") },
	}
}

func (a *app) lifecycle(ctx context.Context, cmd *cli.Command, order, outcome string) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	var api admin.API
	if err := a.call(ctx, cmd, "POST", client.Path("apis", args[0], order), nil, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { row(w, api.Name, outcome) })
}

func (a *app) versionsCommand() *cli.Command {
	return &cli.Command{Name: "versions", Usage: "list an API's versions, newest first", ArgsUsage: "NAME", Action: a.listVersions}
}

func (a *app) listVersions(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	var api admin.API
	if err := a.call(ctx, cmd, "GET", client.Path("apis", args[0]), nil, &api); err != nil {
		return err
	}
	if len(api.Versions) >= admin.ShownVersions { // there may be more
		var all []admin.Version
		if err := a.call(ctx, cmd, "GET", client.Path("apis", api.ID, "versions"), nil, &all); err != nil {
			return err
		}
		for i, v := range all {
			if at := slices.IndexFunc(api.Versions, func(shown admin.Version) bool { return shown.Number == v.Number }); at >= 0 {
				all[i].EnvNames = api.Versions[at].EnvNames // which a list does not have
			}
		}
		api.Versions = all
	}
	return a.show(cmd, api.Versions, func(w io.Writer) { versionRows(w, api) })
}

func (a *app) rollbackCommand() *cli.Command {
	return &cli.Command{
		Name: "rollback", Usage: "have an older version serve again: the newest before the active one, or VERSION",
		ArgsUsage: "NAME [VERSION]", Action: a.rollback,
		Description: "The version is started beside the one that serves, must answer, and takes all the traffic, which ends a\n" +
			"split. Without VERSION it is the newest one before the active one, in a split before the newest that gets requests.\n" +
			"If it does not start, nothing changes.",
	}
}

func (a *app) rollback(ctx context.Context, cmd *cli.Command) error {
	var body admin.Rollback
	args := cmd.Args().Slice()
	if len(args) < 1 || len(args) > 2 {
		return usagef("rollback needs NAME, and takes VERSION")
	}
	if len(args) == 2 {
		number, err := strconv.Atoi(args[1])
		if err != nil || number < 1 {
			return usagef("%q is no version: write its number, see `apibuilder versions %s`", args[1], args[0])
		}
		body.Version = number
	}
	tag := ""
	if body.Version == 0 { // of two who go back one version at the same moment, one does
		var err error
		if tag, err = a.tag(ctx, cmd, client.Path("apis", args[0])); err != nil {
			return err
		}
	}
	var api admin.API
	if err := a.callIf(ctx, cmd, "POST", client.Path("apis", args[0], "rollback"), tag, body, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { trafficRows(w, api) })
}
