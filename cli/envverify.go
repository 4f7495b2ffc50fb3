package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"
)

func (a *app) envVerifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "compare environments with what was built", ArgsUsage: "[KEY]", Action: a.verifyEnvironments, Flags: databaseFlags(),
		Description: "Needs root, and the data directory on this machine. Compares every file with the hash that was taken when\n" +
			"the environment was built, and tells which were changed, are missing or were added. KEY may be the beginning of\n" +
			"a key; without it all are looked at. Exit status 1 when anything was found. Remove a bad environment's directory\n" +
			"and deploy again, or restart the API: it is built anew.",
	}
}

type verifiedOut struct {
	Key      string       `json:"key"`
	OK       bool         `json:"ok"`
	Findings []findingOut `json:"findings"`
}

type findingOut struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
}

func (a *app) verifyEnvironments(ctx context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() > 1 {
		_, err := arguments(cmd, "KEY")
		return err
	}
	e, err := a.environments(ctx, cmd, "env verify")
	if err != nil {
		return err
	}
	keys, err := e.keys(cmd.Args().First())
	if err != nil {
		return err
	}
	out, ok := []verifiedOut{}, true
	for _, key := range keys {
		v, err := e.verify(ctx, key)
		if err != nil {
			return err
		}
		out, ok = append(out, v), ok && v.OK
	}
	err = a.show(cmd, out, func(w io.Writer) {
		for _, v := range out {
			if v.OK {
				row(w, v.Key[:12], "ok")
			}
			for _, f := range v.Findings {
				row(w, v.Key[:12], f.Problem, oneLine(f.Path))
			}
		}
	})
	if err == nil && !ok {
		err = errReported
	}
	return err
}

func (e *environments) keys(beginning string) ([]string, error) {
	if beginning != "" {
		key, err := e.find(beginning)
		return []string{key}, err
	}
	all, err := e.builder.List()
	var keys []string
	for _, i := range all {
		keys = append(keys, i.Key)
	}
	return keys, err
}

func (e *environments) verify(ctx context.Context, key string) (verifiedOut, error) {
	out := verifiedOut{Key: key, Findings: []findingOut{}}
	findings, err := e.builder.Verify(ctx, key)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if err != nil {
		out.Findings = append(out.Findings, findingOut{Problem: fmt.Sprintf("cannot be read: %v", err)})
	}
	for _, f := range findings {
		out.Findings = append(out.Findings, findingOut(f))
	}
	out.OK = len(out.Findings) == 0
	return out, nil
}
