package cli

import "github.com/urfave/cli/v3"

func (a *app) envCommand() *cli.Command {
	return &cli.Command{
		Name:     "env",
		Usage:    "look at environments: what programs are built from",
		Commands: []*cli.Command{a.envLockCommand(), a.envShowCommand(), a.envDiffCommand()},
	}
}
