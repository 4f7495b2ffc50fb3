package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/deploy"
)

func (a *app) deployCommand() *cli.Command {
	return &cli.Command{
		Name:      "deploy",
		Usage:     "deploy a FastAPI program, as a new API or as a new version of the API with that name",
		ArgsUsage: "FILE",
		Description: "FILE is the whole program; - reads it from standard input. A deploy says everything about the new\n" +
			"version: requirements, environment and limits that are left out are those of the plan or the server, not\n" +
			"those of the version before. Unchanged requirements keep the very packages of the version before, unless\n" +
			"--upgrade is given. --public, --public-docs, --rate and --set belong to the API and stay when left out.\n" +
			"The build is shown on standard error, the result on standard output.",
		Flags: append(programFlags(),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the API: lower-case letters, digits and hyphens"},
			&cli.BoolFlag{Name: "public", Usage: "consumers need no key; --public=false takes it back"},
			&cli.BoolFlag{Name: "public-docs", Usage: "the documentation pages need no key, so that a browser can open them"},
			&cli.StringFlag{Name: "rate", Usage: "limit over all consumers of the API: `60/m`, 10/30s, unlimited"},
			&cli.StringFlag{Name: "user", Usage: "`USER` who owns a new API"},
			setFlag(),
			&cli.BoolFlag{Name: "upgrade", Usage: "look for newer packages, even when the requirements are those of the version before"},
		),
		Action: a.deploy,
	}
}

// programFlags describe a version; deploy and sandbox test share them.
func programFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "requirements", Aliases: []string{"r"}, Usage: "pip requirements `FILE`"},
		&cli.StringSliceFlag{Name: "env", Usage: "environment variable `NAME=VALUE`, may be given several times"},
		&cli.StringFlag{Name: "python", Usage: "Python `VERSION`, 3.11, or a specifier, '>=3.10,<3.13'"},
		&cli.StringFlag{Name: "memory", Usage: "memory limit, a `SIZE` like 256M"},
		&cli.StringFlag{Name: "cpu", Usage: "CPU limit in `CORES`, 0.5"},
		&cli.StringFlag{Name: "pids", Usage: "limit of processes and threads, a `NUMBER`"},
	}
}

func (a *app) deploy(ctx context.Context, cmd *cli.Command) error {
	request, err := a.program(cmd)
	if err != nil {
		return err
	}
	if request.Name = cmd.String("name"); request.Name == "" {
		return usagef("apibuilder deploy needs --name NAME: see `apibuilder deploy --help`")
	}
	request.User, request.Upgrade = cmd.String("user"), cmd.Bool("upgrade")
	request.Public, request.PublicDocs = boolFlag(cmd, "public"), boolFlag(cmd, "public-docs")
	if request.Rate, err = rateFlag(cmd); err != nil {
		return err
	}
	if request.Options, err = optionsFlag(cmd); err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	result, err := c.Deploy(ctx, request, func(line string) { fmt.Fprintln(a.stderr, printable(line)) })
	if err != nil {
		return err
	}
	return a.show(cmd, deployed{result.ID, result.Name, result.Version, result.URL, result.Key}, func(w io.Writer) {
		row(w, result.Name, fmt.Sprintf("version %d is serving, built in %.1f s, started in %.2f s",
			result.Version, result.BuildSeconds, result.StartSeconds))
		row(w, "URL", result.URL)
		if result.Key != "" {
			row(w, "Key", result.Key+"  (shown this once)")
		}
		row(w, "Docs", result.DocsURL)
	})
}

// deployed is what --json prints, which other tools rely on.
type deployed struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	URL     string `json:"url"`
	Key     string `json:"key,omitempty"`
}

// program reads what FILE and programFlags say.
func (a *app) program(cmd *cli.Command) (r admin.DeployRequest, err error) {
	args, err := arguments(cmd, "FILE")
	if err != nil {
		return r, err
	}
	if r.Code, err = a.readText(args[0], deploy.MaxCodeBytes); err != nil {
		return r, err
	}
	if path := cmd.String("requirements"); path != "" {
		if r.Requirements, err = a.readText(path, deploy.MaxRequirementsBytes); err != nil {
			return r, err
		}
	}
	if r.Env, err = parseEnv(cmd.StringSlice("env")); err != nil {
		return r, err
	}
	r.Python = cmd.String("python")
	limits, err := parseLimits(cmd.String("memory"), cmd.String("cpu"), cmd.String("pids"),
		func(flag string) string { return "--" + flag })
	r.Limits = admin.Limits{MemoryBytes: limits.MemoryBytes, CPU: limits.CPU, Pids: limits.Pids}
	return r, err
}

// readText reads a file, or standard input for "-". It reads one byte more than the most, so that the server refuses what
// is too large in its own words.
func (a *app) readText(path string, most int64) (string, error) {
	in := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return string(raw), nil
}

// parseEnv never repeats a value: it may be a secret, and so may a text without its name.
func parseEnv(list []string) (map[string]string, error) {
	env := map[string]string{}
	for i, item := range list {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, usagef("--env number %d has no name: write NAME=VALUE", i+1)
		}
		if _, twice := env[name]; twice {
			return nil, usagef("--env %s is given twice: give it once", name)
		}
		env[name] = value
	}
	return env, nil
}

// boolFlag is nil when the flag was not given.
func boolFlag(cmd *cli.Command, name string) *bool {
	if !cmd.IsSet(name) {
		return nil
	}
	b := cmd.Bool(name)
	return &b
}
