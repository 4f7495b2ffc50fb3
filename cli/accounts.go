package cli

import (
	"context"
	"io"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) usersCommand() *cli.Command {
	return &cli.Command{
		Name:  "users",
		Usage: "create and list users, who own APIs, and move them to a plan",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list users by name", Action: a.listUsers,
				Flags: listFlags(
					&cli.StringFlag{Name: "name", Usage: "with that `TEXT` in the name"}, &cli.StringFlag{Name: "plan", Usage: "on that `PLAN`"},
				),
			},
			{
				Name: "create", Usage: "create a user", ArgsUsage: "NAME", Action: a.createUser,
				Flags: []cli.Flag{&cli.StringFlag{Name: "plan", Usage: "`PLAN` of the user"}},
			},
			{
				Name: "update", Usage: "move a user to a plan", ArgsUsage: "NAME", Action: a.updateUser,
				Flags: []cli.Flag{&cli.StringFlag{Name: "plan", Usage: "`PLAN` of the user"}},
			},
		},
	}
}

func (a *app) listUsers(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var users []admin.User
	if err := a.list(ctx, cmd, client.Path("users"), &users); err != nil {
		return err
	}
	return a.show(cmd, users, func(w io.Writer) {
		row(w, "NAME", "ID", "PLAN", "CREATED")
		for _, u := range users {
			row(w, u.Name, u.ID, u.Plan, timeText(u.CreatedAt))
		}
	})
}

func (a *app) createUser(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	return a.sendUser(ctx, cmd, "POST", client.Path("users"), admin.User{Name: args[0], Plan: cmd.String("plan")})
}

func (a *app) updateUser(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	if cmd.String("plan") == "" {
		return usagef("users update needs --plan PLAN: see `apibuilder users update --help`")
	}
	return a.sendUser(ctx, cmd, "PATCH", client.Path("users", args[0]), admin.User{Plan: cmd.String("plan")})
}

func (a *app) sendUser(ctx context.Context, cmd *cli.Command, method, path string, body admin.User) error {
	var user admin.User
	if err := a.call(ctx, cmd, method, path, body, &user); err != nil {
		return err
	}
	return a.show(cmd, user, func(w io.Writer) { row(w, "user", user.Name, user.ID, "is on plan", user.Plan) })
}
