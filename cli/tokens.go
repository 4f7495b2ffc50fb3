package cli

import (
	"context"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) tokensCommand() *cli.Command {
	return &cli.Command{
		Name:  "tokens",
		Usage: "create, list and revoke the tokens that open the management API over TCP",
		Commands: []*cli.Command{
			{
				Name: "create", Usage: "create a token; its secret is shown this once", Action: a.createToken,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "name", Usage: "`LABEL` to recognise it by"},
					&cli.StringFlag{Name: "role", Usage: "what it may do: `ROLE` operator (everything), author (the APIs of its user), reader (look)"},
					&cli.StringFlag{Name: "user", Usage: "`USER` whose APIs a token of role author or reader is for"},
					&cli.StringFlag{Name: "expires", Usage: "`TIME` at which it ends, 90d, 12h or 2027-01-31T00:00:00Z; never if left out"},
				},
			},
			{
				Name: "list", Usage: "list tokens, oldest first", Action: a.listTokens,
				Flags: listFlags(
					&cli.StringFlag{Name: "name", Usage: "with that `TEXT` in the name"},
					&cli.StringFlag{Name: "role", Usage: "of that `ROLE`"}, &cli.StringFlag{Name: "user", Usage: "of the user with that `NAME` or id"},
					&cli.StringFlag{Name: "state", Usage: "in that `STATE`: valid or ended"},
				),
			},
			{Name: "revoke", Usage: "end a token at once", ArgsUsage: "ID", Action: a.revokeToken},
		},
	}
}

func (a *app) createToken(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	request := admin.TokenRequest{Name: cmd.String("name"), Role: cmd.String("role"), User: cmd.String("user")}
	var err error
	if request.ExpiresAt, err = expiresFlag(cmd, time.Now()); err != nil {
		return err
	}
	var token admin.Token
	if err := a.call(ctx, cmd, "POST", client.Path("tokens"), request, &token); err != nil {
		return err
	}
	return a.show(cmd, token, func(w io.Writer) {
		row(w, "ID", token.ID)
		row(w, "Token", token.Secret+"  (shown this once)")
	})
}

func (a *app) listTokens(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var tokens []admin.Token
	if err := a.list(ctx, cmd, client.Path("tokens"), &tokens); err != nil {
		return err
	}
	return a.show(cmd, tokens, func(w io.Writer) {
		row(w, "ID", "NAME", "PREFIX", "ROLE", "USER", "CREATED", "EXPIRES", "STATE")
		for _, t := range tokens {
			row(w, t.ID, t.Name, t.Prefix+"...", t.Role, t.User, timeText(t.CreatedAt), expiryText(t.ExpiresAt), tokenState(t, time.Now()))
		}
	})
}

func (a *app) revokeToken(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "ID")
	if err != nil {
		return err
	}
	var token admin.Token
	if err := a.call(ctx, cmd, "DELETE", client.Path("tokens", args[0]), nil, &token); err != nil {
		return err
	}
	return a.show(cmd, token, func(w io.Writer) { row(w, "token", token.ID, "is revoked") })
}

func expiryText(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return timeText(*at)
}

// tokenState is whether a token opens anything now.
func tokenState(t admin.Token, now time.Time) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked " + timeText(*t.RevokedAt)
	case t.ExpiresAt != nil && !now.Before(*t.ExpiresAt):
		return "expired"
	}
	return "valid"
}
