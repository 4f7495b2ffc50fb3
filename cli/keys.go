package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) keysCommand() *cli.Command {
	api := func() cli.Flag { return &cli.StringFlag{Name: "api", Usage: "`NAME` or id of the API"} }
	return &cli.Command{
		Name:  "keys",
		Usage: "create, list and revoke the keys of an API",
		Commands: []*cli.Command{
			{
				Name: "create", Usage: "create a key; its secret is shown this once", Action: a.createKey,
				Flags: []cli.Flag{
					api(),
					&cli.StringFlag{Name: "name", Usage: "`LABEL` to recognise it by"},
					&cli.StringFlag{Name: "rate", Usage: "limit of this key: `60/m`, 10/30s, unlimited"},
				},
			},
			{Name: "list", Usage: "list keys", Flags: []cli.Flag{api()}, Action: a.listKeys},
			{Name: "revoke", Usage: "end a key at once", ArgsUsage: "KEY", Flags: []cli.Flag{api()}, Action: a.revokeKey},
		},
	}
}

func apiFlag(cmd *cli.Command) (string, error) {
	if name := cmd.String("api"); name != "" {
		return name, nil
	}
	return "", usagef("%s needs --api NAME: see `%s --help`", cmd.FullName(), cmd.FullName())
}

func (a *app) createKey(ctx context.Context, cmd *cli.Command) error {
	api, err := apiFlag(cmd)
	if err != nil {
		return err
	}
	if _, err := arguments(cmd); err != nil {
		return err
	}
	request := admin.KeyRequest{Name: cmd.String("name")}
	if request.Rate, err = rateFlag(cmd); err != nil {
		return err
	}
	var key admin.Key
	if err := a.call(ctx, cmd, "POST", client.Path("apis", api, "keys"), request, &key); err != nil {
		return err
	}
	return a.show(cmd, key, func(w io.Writer) {
		row(w, "ID", key.ID)
		row(w, "Rate", rateText(key.Rate))
		row(w, "Key", key.Secret+"  (shown this once)")
	})
}

func (a *app) listKeys(ctx context.Context, cmd *cli.Command) error {
	api, err := apiFlag(cmd)
	if err != nil {
		return err
	}
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var keys []admin.Key
	if err := a.call(ctx, cmd, "GET", client.Path("apis", api, "keys"), nil, &keys); err != nil {
		return err
	}
	return a.show(cmd, keys, func(w io.Writer) {
		row(w, "ID", "NAME", "PREFIX", "RATE", "CREATED", "STATE")
		for _, k := range keys {
			row(w, k.ID, k.Name, k.Prefix+"...", rateText(k.Rate), timeText(k.CreatedAt), revokedText(k.RevokedAt))
		}
	})
}

func revokedText(at *time.Time) string {
	if at == nil {
		return "valid"
	}
	return "revoked " + timeText(*at)
}

func (a *app) revokeKey(ctx context.Context, cmd *cli.Command) error {
	api, err := apiFlag(cmd)
	if err != nil {
		return err
	}
	args, err := arguments(cmd, "KEY")
	if err != nil {
		return err
	}
	var key admin.Key
	if err := a.call(ctx, cmd, "DELETE", client.Path("apis", api, "keys", args[0]), nil, &key); err != nil {
		return err
	}
	return a.show(cmd, key, func(w io.Writer) { row(w, fmt.Sprintf("key %s (%s...) is revoked", key.ID, key.Prefix)) })
}
