package cli

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/deploy"
	"apibuilder/store"
)

// readPolicy reads the defaults and the ceilings of all APIs. Its errors are usage errors that name the setting.
func readPolicy(s settings) (p deploy.Policy, err error) {
	if p.Defaults, err = readLimits(s, "default-"); err != nil {
		return p, err
	}
	if p.Ceiling, err = readLimits(s, "max-"); err != nil {
		return p, err
	}
	if above, ok := errors.AsType[*deploy.Error](p.Check(store.Plan{}, p.Defaults)); ok {
		return p, usagef("--default-memory, --default-cpu or --default-pids: %s", above.Message)
	}
	return p, nil
}

func readLimits(s settings, prefix string) (store.Limits, error) {
	name := func(flag string) string { return s[prefix+flag].name }
	l, err := parseLimits(s.text(prefix+"memory"), s.text(prefix+"cpu"), s.text(prefix+"pids"), name)
	if err != nil {
		return l, err
	}
	for flag, one := range map[string]store.Limits{
		"memory": {MemoryBytes: l.MemoryBytes}, "cpu": {CPU: l.CPU}, "pids": {Pids: l.Pids},
	} {
		if err := deploy.CheckLimits(one); err != nil {
			return l, usagef("%s: %v", name(flag), err)
		}
	}
	return l, nil
}

// planLimitFlags are the limits of a plan and, with the prefix max-, its ceiling.
func planLimitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "memory", Usage: "memory `SIZE` of an API that asks for none, 256M; default: the server's"},
		&cli.StringFlag{Name: "cpu", Usage: "CPU `CORES` of an API that asks for none, 0.5; default: the server's"},
		&cli.StringFlag{Name: "pids", Usage: "processes and threads, a `NUMBER`, of an API that asks for none; default: the server's"},
		&cli.StringFlag{Name: "max-memory", Usage: "most memory that an API may ask for, a `SIZE`; default: the server's"},
		&cli.StringFlag{Name: "max-cpu", Usage: "most CPU `CORES` that an API may ask for; default: the server's"},
		&cli.StringFlag{Name: "max-pids", Usage: "most processes and threads that an API may ask for, a `NUMBER`; default: the server's"},
	}
}

// planLimits reads the flags of planLimitFlags: what is not given stays as it is.
func planLimits(cmd *cli.Command, prefix string) (p admin.LimitsPatch, err error) {
	if p.MemoryBytes, err = limitFlag(cmd, prefix+"memory", parseSize); err != nil {
		return p, err
	}
	if p.CPU, err = limitFlag(cmd, prefix+"cpu", parseCPU); err != nil {
		return p, err
	}
	p.Pids, err = limitFlag(cmd, prefix+"pids", parseCount)
	return p, err
}

// planInstanceFlags bound the options of APIs that cost sandboxes.
func planInstanceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "max-instances", Usage: "most instances that an API may have at a time, a `NUMBER`; default: no bound"},
		&cli.StringFlag{Name: "max-min-instances", Usage: "most instances that an API may have run although nobody calls, a `NUMBER`; default: no bound"},
	}
}

// planInstances reads the flags of planInstanceFlags: what is not given stays as it is.
func planInstances(cmd *cli.Command) (p admin.InstancesPatch, err error) {
	if p.Max, err = limitFlag(cmd, "max-instances", parseCount); err != nil {
		return p, err
	}
	p.Min, err = limitFlag(cmd, "max-min-instances", parseCount)
	return p, err
}

// instancesText is a plan's bounds of instances, "-" where there is none.
func instancesText(i admin.Instances) string {
	switch {
	case i.Min == 0 && i.Max == 0:
		return "-"
	case i.Min == 0:
		return strconv.Itoa(i.Max)
	case i.Max == 0:
		return fmt.Sprintf("- (always %d)", i.Min)
	}
	return fmt.Sprintf("%d (always %d)", i.Max, i.Min)
}

// limitFlag is nil when the flag was not given, and zero for "default".
func limitFlag[N any](cmd *cli.Command, flag string, read func(string) (N, error)) (*N, error) {
	var value N
	if !cmd.IsSet(flag) {
		return nil, nil
	}
	if cmd.String(flag) == "default" {
		return &value, nil
	}
	value, err := read(cmd.String(flag))
	if err != nil {
		return nil, usagef("--%s: %v, or default for the server's", flag, err)
	}
	return &value, nil
}

// limitsCells are the limits of a plan, "-" where the server's count.
func limitsCells(l admin.Limits) []any {
	cells := []any{"-", "-", "-"}
	if l.MemoryBytes != 0 {
		cells[0] = formatSize(l.MemoryBytes)
	}
	if l.CPU != 0 {
		cells[1] = l.CPU
	}
	if l.Pids != 0 {
		cells[2] = l.Pids
	}
	return cells
}

// originsText says where each of an API's limits comes from.
func originsText(o admin.Origins, plan string) string {
	words := map[string]string{
		string(deploy.FromVersion):       "asked for",
		string(deploy.FromPlan):          "plan " + plan,
		string(deploy.FromDefault):       "server's default",
		string(deploy.FromPlanCeiling):   "ceiling of plan " + plan,
		string(deploy.FromServerCeiling): "server's ceiling",
	}
	return fmt.Sprintf("memory %s, cpu %s, pids %s", words[o.Memory], words[o.CPU], words[o.Pids])
}
