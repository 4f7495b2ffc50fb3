package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/bundle"
	"apibuilder/deploy"
)

func (a *app) deployCommand() *cli.Command {
	return &cli.Command{
		Name:      "deploy",
		Usage:     "deploy a FastAPI program, as a new API or as a new version of the API with that name",
		ArgsUsage: "FILE | FOLDER | ARCHIVE.zip",
		Description: "FILE is the whole program; - reads it from standard input. A program of several files is a FOLDER or a zip\n" +
			"archive of one: modules and data, as they are on disk, without what .gitignore and .apibuilderignore name. It\n" +
			"begins with main.py, app.py or the only module that makes a FastAPI object, or with --entry; its\n" +
			"requirements.txt is used when --requirements is not given, or else what its pyproject.toml says. A deploy\n" +
			"says everything about the new version: requirements, environment and limits that are left out are those of\n" +
			"the plan or the server, not those of the version before. Unchanged requirements keep the very packages of\n" +
			"the version before, unless --upgrade is given. --public, --public-docs, --rate and --set belong to the API\n" +
			"and stay when left out.\n" +
			"The build is shown on standard error, the result on standard output.",
		Flags: append(programFlags(),
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the API: lower-case letters, digits and hyphens"},
			&cli.BoolFlag{Name: "public", Usage: "consumers need no key; --public=false takes it back"},
			&cli.BoolFlag{Name: "public-docs", Usage: "the documentation pages need no key, so that a browser can open them"},
			&cli.StringFlag{Name: "rate", Usage: "limit over all consumers of the API: `60/m`, 10/30s, unlimited"},
			&cli.StringFlag{Name: "user", Usage: "`USER` who owns a new API"},
			&cli.BoolFlag{Name: "watch", Usage: "deploy again whenever the program changes, until interrupted; for development"},
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
		&cli.StringFlag{Name: "entry", Usage: "where a program of several files begins, `MODULE` or MODULE:NAME, as in pkg.main:app"},
		&cli.StringSliceFlag{Name: "env", Usage: "environment variable `NAME=VALUE`, may be given several times"},
		&cli.StringFlag{Name: "python", Usage: "Python `VERSION`, 3.11, or a specifier, '>=3.10,<3.13'"},
		&cli.StringFlag{Name: "memory", Usage: "memory limit, a `SIZE` like 256M"},
		&cli.StringFlag{Name: "cpu", Usage: "CPU limit in `CORES`, 0.5"},
		&cli.StringFlag{Name: "pids", Usage: "limit of processes and threads, a `NUMBER`"},
	}
}

func (a *app) deploy(ctx context.Context, cmd *cli.Command) error {
	settings, err := deploySettings(cmd)
	if err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	one := func(ctx context.Context, program admin.DeployRequest) error {
		settings.addTo(&program)
		return a.deployOne(ctx, cmd, c, program)
	}
	if cmd.Bool("watch") {
		if _, err := a.programSettings(cmd); err != nil {
			return err
		}
		return a.watch(ctx, cmd, one)
	}
	program, err := a.program(cmd)
	if err != nil {
		return err
	}
	return one(ctx, program.DeployRequest)
}

// deploySettings are what a deploy's flags say besides the program.
func deploySettings(cmd *cli.Command) (s apiSettings, err error) {
	if s.name = cmd.String("name"); s.name == "" {
		return s, usagef("apibuilder deploy needs --name NAME: see `apibuilder deploy --help`")
	}
	s.user, s.upgrade = cmd.String("user"), cmd.Bool("upgrade")
	s.public, s.publicDocs = boolFlag(cmd, "public"), boolFlag(cmd, "public-docs")
	if s.rate, err = rateFlag(cmd); err != nil {
		return s, err
	}
	s.options, err = optionsFlag(cmd)
	return s, err
}

type apiSettings struct {
	name, user         string
	upgrade            bool
	public, publicDocs *bool
	rate               *admin.Rate
	options            map[string]string
}

func (s apiSettings) addTo(r *admin.DeployRequest) {
	r.Name, r.User, r.Upgrade, r.Public, r.PublicDocs = s.name, s.user, s.upgrade, s.public, s.publicDocs
	r.Rate, r.Options = s.rate, s.options
}

func (a *app) deployOne(ctx context.Context, cmd *cli.Command, c *client.Client, request admin.DeployRequest) error {
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

// program is what FILE or FOLDER and programFlags say.
type program struct {
	admin.DeployRequest
	dirs []string // of a folder, those with files of the program
}

// program reads it. The directories are there with an error too, as far as they were read.
func (a *app) program(cmd *cli.Command) (p program, err error) {
	if p.DeployRequest, err = a.programSettings(cmd); err != nil {
		return p, err
	}
	path := cmd.Args().First()
	switch {
	case isDir(path):
		return p, a.readFolder(path, &p)
	case strings.EqualFold(filepath.Ext(path), ".zip"):
		p.Archive, err = a.readBytes(path, deploy.MaxArchiveBytes)
		return p, err
	case p.Entry != "":
		return p, usagef("--entry is for a FOLDER or an archive, and %s is one file", path)
	}
	p.Code, err = a.readText(path, deploy.MaxCodeBytes)
	return p, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (a *app) readFolder(path string, p *program) error {
	folder, err := bundle.ReadFolder(path)
	p.dirs = folder.Dirs
	if wrong, ok := errors.AsType[*bundle.Error](err); ok {
		return fmt.Errorf("%s: %w: %s", path, wrong, wrong.Remedy)
	}
	if err != nil {
		return err
	}
	for _, name := range folder.Secrets {
		fmt.Fprintf(a.stderr, "%s is left out, because such files hold secrets: give them with --env, or write !%s into .apibuilderignore\n",
			printable(name), printable(filepath.Base(name)))
	}
	p.Archive, err = folder.Bundle.Archive()
	return err
}

// programSettings reads what programFlags say.
func (a *app) programSettings(cmd *cli.Command) (r admin.DeployRequest, err error) {
	if _, err := arguments(cmd, "FILE"); err != nil {
		return r, err
	}
	r.Entry = cmd.String("entry")
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

// readText is readBytes of a text. JSON can carry nothing but UTF-8, and would have other characters in the place of the rest.
func (a *app) readText(path string, most int64) (string, error) {
	raw, err := a.readBytes(path, most)
	if err == nil && int64(len(raw)) <= most && !utf8.Valid(raw) {
		err = fmt.Errorf("%s is not UTF-8 text: save it as UTF-8", path)
	}
	return string(raw), err
}

// readBytes reads a file, or standard input for "-". It reads one byte more than the most, so that the server refuses what
// is too large in its own words.
func (a *app) readBytes(path string, most int64) ([]byte, error) {
	in := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return raw, nil
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
		if !utf8.ValidString(value) {
			return nil, usagef("--env %s is not UTF-8 text: encode binary values, for example as base64", name)
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
