package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/store"
)

func (a *app) envLockCommand() *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "print the lock of an API, or resolve the requirements in a file and print what they come to",
		ArgsUsage: "API[@VERSION] | FILE",
		Description: "A lock is every package at one version with the hashes of its files. That of an API is what its version was\n" +
			"built from. A FILE has a dot or a slash in its name; it holds requirements, or is a pyproject.toml, or is a program\n" +
			"with script metadata when it ends in .py. Nothing is installed.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "python", Usage: "Python `VERSION` to resolve a file for, 3.11"}},
		Action: a.envLock,
	}
}

func (a *app) envShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show what a version is built from: Python, packages, size", ArgsUsage: "API[@VERSION]",
		Action: a.envShow,
	}
}

func (a *app) envDiffCommand() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "compare the packages of two versions", ArgsUsage: "API[@VERSION] API[@VERSION]",
		Action: a.envDiff,
	}
}

func (a *app) envLock(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "API or FILE")
	if err != nil {
		return err
	}
	if !isFileName(args[0]) {
		if cmd.IsSet("python") {
			return usagef("--python belongs to a file: the lock of an API has its Python already")
		}
		e, err := a.versionEnvironment(ctx, cmd, args[0])
		if err != nil {
			return err
		}
		if e.Lock == "" {
			return fmt.Errorf("version %d of %s has no lock: it was never built, or before locks were kept", e.Version, e.Name)
		}
		return a.showLock(cmd, e.Lock)
	}
	request, err := a.lockRequest(args[0], cmd.String("python"))
	if err != nil {
		return err
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	lock, err := c.Lock(ctx, request, func(line string) { fmt.Fprintln(a.stderr, printable(line)) })
	if err != nil {
		return err
	}
	return a.showLock(cmd, lock)
}

// isFileName tells files from APIs, whose names and ids have neither dots nor slashes.
func isFileName(arg string) bool {
	name, _, _ := strings.Cut(arg, "@")
	return arg == "-" || store.ValidName(name) != nil && !strings.HasPrefix(name, "api_")
}

func (a *app) lockRequest(path, python string) (admin.LockRequest, error) {
	r := admin.LockRequest{Python: python}
	var err error
	switch {
	case strings.HasSuffix(path, ".py"):
		r.Code, err = a.readText(path, deploy.MaxCodeBytes)
	case filepath.Base(path) == pythonenv.ProjectFile:
		err = a.readProject(path, &r)
	default:
		r.Requirements, err = a.readText(path, deploy.MaxRequirementsBytes)
	}
	return r, err
}

// readProject takes what a pyproject.toml says into a request.
func (a *app) readProject(path string, r *admin.LockRequest) error {
	text, err := a.readText(path, deploy.MaxRequirementsBytes)
	switch {
	case err != nil:
		return err
	case len(text) > deploy.MaxRequirementsBytes:
		return fmt.Errorf("%s has more than %d bytes: give a requirements text", path, deploy.MaxRequirementsBytes)
	}
	project, err := pythonenv.ReadProject(text)
	if build, ok := errors.AsType[*pythonenv.BuildError](err); ok {
		return fmt.Errorf("%s: %w", path, deploy.ExplainBuild(build))
	}
	if err != nil {
		return err
	}
	if project.Elsewhere != "" {
		return fmt.Errorf("%s %s, which is not read: name them below [project], or give a requirements text", path, project.Elsewhere)
	}
	r.Requirements = project.Requirements()
	if r.Python == "" {
		r.Python = project.RequiresPython
	}
	return nil
}

// lockText is what --json prints.
type lockText struct {
	Lock string `json:"lock"`
}

func (a *app) showLock(cmd *cli.Command, lock string) error {
	return a.show(cmd, lockText{lock}, func(w io.Writer) { fmt.Fprint(w, printable(lock)) })
}

// versionEnvironment asks for API, or API@VERSION.
func (a *app) versionEnvironment(ctx context.Context, cmd *cli.Command, arg string) (e admin.VersionEnvironment, err error) {
	name, number, err := apiVersion(arg)
	if err != nil {
		return e, err
	}
	version := "active"
	if number != 0 {
		version = strconv.Itoa(number)
	}
	err = a.call(ctx, cmd, http.MethodGet, client.Path("apis", name, "versions", version, "environment"), nil, &e)
	return e, err
}

// apiVersion reads API or API@VERSION; 0 is the active one.
func apiVersion(arg string) (name string, number int, err error) {
	name, version, named := strings.Cut(arg, "@")
	if !named {
		return name, 0, nil
	}
	if number, err = strconv.Atoi(version); err != nil || number < 1 {
		return "", 0, usagef("%q is no version of an API: write for example %s@3", arg, name)
	}
	return name, number, nil
}

func (a *app) envShow(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "API")
	if err != nil {
		return err
	}
	e, err := a.versionEnvironment(ctx, cmd, args[0])
	if err != nil {
		return err
	}
	return a.show(cmd, e, func(w io.Writer) { describeEnvironment(w, e) })
}

func describeEnvironment(w io.Writer, e admin.VersionEnvironment) {
	row(w, "API", fmt.Sprintf("%s version %d", e.Name, e.Version))
	row(w, "Python", e.Python)
	if e.Built {
		row(w, "Interpreter", e.Interpreter)
	}
	row(w, "Environment", e.Environment)
	if e.Built {
		row(w, "Size", fmt.Sprintf("%s in %d files", formatSize(e.Bytes), e.Files))
	} else {
		row(w, "Size", "not on this machine now")
	}
	fmt.Fprintln(w)
	row(w, "PACKAGE", "VERSION")
	for _, p := range e.Packages {
		row(w, p.Name, p.Version)
	}
}

// packageDiff is what --json prints of a comparison.
type packageDiff struct {
	Python  *changed        `json:"python,omitempty"` // nil: the same
	Added   []admin.Package `json:"added"`
	Removed []admin.Package `json:"removed"`
	Changed []changed       `json:"changed"`
}

type changed struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (a *app) envDiff(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "two versions", "the second version")
	if err != nil {
		return err
	}
	from, err := a.versionEnvironment(ctx, cmd, args[0])
	if err != nil {
		return err
	}
	to, err := a.versionEnvironment(ctx, cmd, args[1])
	if err != nil {
		return err
	}
	d := diffPackages(from, to)
	return a.show(cmd, d, func(w io.Writer) { d.describe(w) })
}

func diffPackages(from, to admin.VersionEnvironment) packageDiff {
	d := packageDiff{Added: []admin.Package{}, Removed: []admin.Package{}, Changed: []changed{}}
	if from.Python != to.Python {
		d.Python = &changed{"python", from.Python, to.Python}
	}
	before := map[string]string{}
	for _, p := range from.Packages {
		before[p.Name] = p.Version
	}
	for _, p := range to.Packages {
		version, there := before[p.Name]
		delete(before, p.Name)
		switch {
		case !there:
			d.Added = append(d.Added, p)
		case version != p.Version:
			d.Changed = append(d.Changed, changed{p.Name, version, p.Version})
		}
	}
	for _, p := range from.Packages {
		if _, left := before[p.Name]; left {
			d.Removed = append(d.Removed, p)
		}
	}
	return d
}

func (d packageDiff) describe(w io.Writer) {
	if d.Python != nil {
		row(w, "~", d.Python.Name, d.Python.From, d.Python.To)
	}
	for _, p := range d.Added {
		row(w, "+", p.Name, "", p.Version)
	}
	for _, p := range d.Removed {
		row(w, "-", p.Name, p.Version, "")
	}
	for _, c := range d.Changed {
		row(w, "~", c.Name, c.From, c.To)
	}
	if d.Python == nil && len(d.Added)+len(d.Removed)+len(d.Changed) == 0 {
		fmt.Fprintln(w, "the packages are the same")
	}
}
