package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) keysCommand() *cli.Command {
	return &cli.Command{
		Name:  "keys",
		Usage: "create, list, rotate and revoke keys of APIs and of users",
		Commands: []*cli.Command{
			{
				Name: "create", Usage: "create a key; its secret is shown this once", Action: a.createKey,
				Description: "A key of an API opens that API, a key of a user all APIs of that user, also later ones.\n\n" +
					"--allow limits a key to a method and a path below the API's address, which is compared byte for byte as it\n" +
					"is sent: in place of a segment * stands for any one, and ** at the end for any further ones. A path that\n" +
					"could be read in another way (.., //, %2f and the like) is never allowed.",
				Flags: append(keyOwnerFlags(),
					&cli.StringFlag{Name: "name", Usage: "`LABEL` to recognise it by"},
					&cli.StringFlag{Name: "rate", Usage: "limit of this key: `60/m`, 10/30s, unlimited"},
					&cli.StringFlag{Name: "quota", Usage: "requests a calendar month, a `NUMBER`; no limit if left out"},
					&cli.StringFlag{Name: "expires", Usage: "`TIME` at which it ends, 90d, 12h or 2027-01-31T00:00:00Z; never if left out"},
					&cli.StringSliceFlag{Name: "allow", Usage: "only `'GET /items/*'`, may be given several times; everything if left out"},
				),
			},
			{
				Name: "list", Usage: "list keys, oldest first: of an API, of a user, or all", Action: a.listKeys,
				Flags: append(keyOwnerFlags(), listFlags(
					&cli.StringFlag{Name: "name", Usage: "with that `TEXT` in the name"},
					&cli.StringFlag{Name: "state", Usage: "in that `STATE`: valid or ended"},
				)...),
			},
			{
				Name: "rotate", Usage: "give a key another secret, which is shown this once", ArgsUsage: "KEY", Action: a.rotateKey,
				Description: "KEY is an id, a name or a shown prefix. The key stays the same, with its limits and its usage. The secret before\n" +
					"is good for the time of --overlap; one from an earlier rotation ends at once.",
				Flags: append(keyOwnerFlags(), &cli.StringFlag{Name: "overlap", Value: "24h", Usage: "`TIME` for which the secret before is good, 24h, 7d or 0"}),
			},
			{Name: "revoke", Usage: "end a key at once", ArgsUsage: "KEY", Flags: keyOwnerFlags(), Action: a.revokeKey},
		},
	}
}

func keyOwnerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "api", Usage: "`NAME` or id of the API"},
		&cli.StringFlag{Name: "user", Usage: "`NAME` or id of the user"},
	}
}

// keyPath is where the keys are that --api or --user names: all of them when neither is given.
func keyPath(cmd *cli.Command, parts ...string) (string, error) {
	api, user := cmd.String("api"), cmd.String("user")
	switch {
	case api != "" && user != "":
		return "", usagef("--api and --user are both given: leave one out")
	case api != "":
		return client.Path(append([]string{"apis", api, "keys"}, parts...)...), nil
	case user != "":
		return client.Path(append([]string{"users", user, "keys"}, parts...)...), nil
	}
	return client.Path(append([]string{"keys"}, parts...)...), nil
}

func (a *app) createKey(ctx context.Context, cmd *cli.Command) error {
	path, err := keyPath(cmd)
	if err != nil {
		return err
	}
	if cmd.String("api") == "" && cmd.String("user") == "" {
		return usagef("%s needs --api NAME or --user NAME: see `%s --help`", cmd.FullName(), cmd.FullName())
	}
	if _, err := arguments(cmd); err != nil {
		return err
	}
	request, err := keyRequest(cmd, time.Now())
	if err != nil {
		return err
	}
	var key admin.Key
	if err := a.call(ctx, cmd, "POST", path, request, &key); err != nil {
		return err
	}
	return a.show(cmd, key, func(w io.Writer) { describeSecret(w, key) })
}

func keyRequest(cmd *cli.Command, now time.Time) (request admin.KeyRequest, err error) {
	request = admin.KeyRequest{Name: cmd.String("name"), Allow: cmd.StringSlice("allow")}
	if request.Rate, err = rateFlag(cmd); err != nil {
		return request, err
	}
	quota, err := quotaFlag(cmd)
	if err != nil {
		return request, err
	}
	if quota != nil {
		request.Quota = *quota
	}
	request.ExpiresAt, err = expiresFlag(cmd, now)
	return request, err
}

// describeSecret shows a key's secret, which is shown once.
func describeSecret(w io.Writer, key admin.Key) {
	row(w, "ID", key.ID)
	row(w, "Rate", rateText(key.Rate))
	if key.Quota > 0 {
		row(w, "Quota", fmt.Sprintf("%d a month", key.Quota))
	}
	for _, scope := range key.Allow {
		row(w, "Allows", scope)
	}
	if key.ExpiresAt != nil {
		row(w, "Expires", timeText(*key.ExpiresAt))
	}
	if key.Previous != nil {
		row(w, "Before", key.Previous.Prefix+"...  (good until "+timeText(key.Previous.Until)+")")
	}
	row(w, "Key", key.Secret+"  (shown this once)")
}

func (a *app) listKeys(ctx context.Context, cmd *cli.Command) error {
	path, err := keyPath(cmd)
	if err != nil {
		return err
	}
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var keys []admin.Key
	if err := a.list(ctx, cmd, path, &keys, "user"); err != nil {
		return err
	}
	return a.show(cmd, keys, func(w io.Writer) {
		row(w, "ID", "OPENS", "NAME", "PREFIX", "RATE", "QUOTA", "ALLOWS", "CREATED", "LAST USED", "STATE")
		for _, k := range keys {
			row(w, k.ID, opensText(k), k.Name, k.Prefix+"...", rateText(k.Rate), quotaText(k.Quota), allowText(k.Allow), timeText(k.CreatedAt),
				usedText(k.LastUsedAt), keyState(k, time.Now()))
		}
	})
}

func opensText(k admin.Key) string {
	if k.User != "" {
		return k.User
	}
	return k.API
}

func quotaText(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/month", n)
}

func allowText(allow []string) string {
	if len(allow) == 0 {
		return "everything"
	}
	return strings.Join(allow, ", ")
}

func usedText(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return timeText(*at)
}

// keyState is what a key is good for now.
func keyState(k admin.Key, now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + timeText(*k.RevokedAt)
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return "expired " + timeText(*k.ExpiresAt)
	case k.Previous != nil && now.Before(k.Previous.Until):
		return "valid, and " + k.Previous.Prefix + "... until " + timeText(k.Previous.Until)
	case k.ExpiresAt != nil:
		return "valid until " + timeText(*k.ExpiresAt)
	}
	return "valid"
}

func (a *app) rotateKey(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "KEY")
	if err != nil {
		return err
	}
	path, err := keyPath(cmd, args[0], "rotate")
	if err != nil {
		return err
	}
	overlap, err := parseSpan(cmd.String("overlap"))
	if err != nil {
		return usagef("--overlap: %v", err)
	}
	var key admin.Key
	if err := a.call(ctx, cmd, "POST", path, admin.KeyRotation{OverlapSeconds: overlap.Seconds()}, &key); err != nil {
		return err
	}
	return a.show(cmd, key, func(w io.Writer) { describeSecret(w, key) })
}

func (a *app) revokeKey(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "KEY")
	if err != nil {
		return err
	}
	path, err := keyPath(cmd, args[0])
	if err != nil {
		return err
	}
	var key admin.Key
	if err := a.call(ctx, cmd, "DELETE", path, nil, &key); err != nil {
		return err
	}
	return a.show(cmd, key, func(w io.Writer) { row(w, fmt.Sprintf("key %s (%s...) is revoked", key.ID, key.Prefix)) })
}
