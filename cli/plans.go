package cli

import (
	"context"
	"io"
	"slices"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) plansCommand() *cli.Command {
	return &cli.Command{
		Name:  "plans",
		Usage: "set and list plans, which limit the APIs of their users",
		Commands: []*cli.Command{
			{Name: "list", Usage: "list plans", Action: a.listPlans},
			{
				Name: "set", Usage: "add a plan or change it; what is left out stays", ArgsUsage: "NAME", Action: a.setPlan,
				Description: "Rate and quota limit all APIs of a user together. Memory, CPU and processes are of each API; they come from\n" +
					"its deploy, else from the plan, else from the server, and are never more than the plan's and the server's\n" +
					"ceiling. A deploy that asks for more is refused. Changes act when a program starts the next time, those of how many\n" +
					"instances an API may have at once.",
				Flags: slices.Concat([]cli.Flag{
					&cli.StringFlag{Name: "rate", Usage: "`60/m`, 10/30s, unlimited"},
					&cli.StringFlag{Name: "quota", Usage: "requests a calendar month, UTC, a `NUMBER` or unlimited"},
				}, planLimitFlags(), planInstanceFlags()),
			},
		},
	}
}

func (a *app) listPlans(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var plans []admin.Plan
	if err := a.call(ctx, cmd, "GET", client.Path("plans"), nil, &plans); err != nil {
		return err
	}
	return a.show(cmd, plans, func(w io.Writer) { planRows(w, plans...) })
}

func planRows(w io.Writer, plans ...admin.Plan) {
	row(w, "NAME", "RATE", "QUOTA", "MEMORY", "CPU", "PIDS", "MAX MEMORY", "MAX CPU", "MAX PIDS", "MAX INSTANCES")
	for _, p := range plans {
		cells := append([]any{p.Name, rateText(p.Rate), quotaText(p.Quota)}, limitsCells(p.Limits)...)
		cells = append(cells, limitsCells(p.Ceiling)...)
		row(w, append(cells, instancesText(p.Instances))...)
	}
}

func (a *app) setPlan(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	var patch admin.PlanPatch
	if patch.Rate, err = rateFlag(cmd); err != nil {
		return err
	}
	if patch.Quota, err = quotaFlag(cmd); err != nil {
		return err
	}
	if patch.Limits, err = planLimits(cmd, ""); err != nil {
		return err
	}
	if patch.Ceiling, err = planLimits(cmd, "max-"); err != nil {
		return err
	}
	if patch.Instances, err = planInstances(cmd); err != nil {
		return err
	}
	if patch == (admin.PlanPatch{}) {
		return usagef("plans set changes nothing: give --rate 60/m, --quota, --memory, --cpu, --pids or a ceiling like --max-memory")
	}
	var plan admin.Plan
	if err := a.call(ctx, cmd, "PATCH", client.Path("plans", args[0]), patch, &plan); err != nil {
		return err
	}
	return a.show(cmd, plan, func(w io.Writer) { planRows(w, plan) })
}
