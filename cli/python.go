package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) pythonCommand() *cli.Command {
	return &cli.Command{
		Name:  "python",
		Usage: "look at the Pythons that programs may ask for, add and remove some",
		Commands: []*cli.Command{
			{Name: "list", Usage: "list them, the default first", Action: a.listPythons},
			{
				Name: "add", Usage: "offer a Python of the server's machine", ArgsUsage: "PATH", Action: a.addPython,
				Description: "PATH is its binary, or the directory that has bin/python3. One that sandboxes cannot read, below a home\n" +
					"directory for example, is copied into the data directory.",
			},
			{
				Name: "install", Usage: "fetch a Python with uv", ArgsUsage: "VERSION", Action: a.installPython,
				Description: "VERSION is one like 3.10. uv downloads from a place of its own, not from the package index; set\n" +
					"UV_PYTHON_INSTALL_MIRROR for the server where that is out of reach.",
			},
			{Name: "remove", Usage: "no longer offer a Python that was added", ArgsUsage: "VERSION|PATH", Action: a.removePython},
		},
	}
}

func (a *app) listPythons(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var all []admin.Python
	if err := a.call(ctx, cmd, http.MethodGet, client.Path("pythons"), nil, &all); err != nil {
		return err
	}
	return a.show(cmd, all, func(w io.Writer) {
		row(w, "VERSION", "PATH", "FROM", "NOTE")
		for _, p := range all {
			row(w, p.Version, p.Path, pythonSource(p), pythonNote(p))
		}
	})
}

func pythonSource(p admin.Python) string {
	switch {
	case p.AddedAt == nil:
		return "system"
	case p.Copied:
		return "copy of " + p.Origin
	}
	return "added"
}

func pythonNote(p admin.Python) string {
	if p.Default {
		return "default"
	}
	return p.Unusable
}

func (a *app) addPython(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "PATH")
	if err != nil {
		return err
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return fmt.Errorf("find %s: %w", args[0], err)
	}
	return a.gainPython(ctx, cmd, admin.PythonRequest{Path: path})
}

func (a *app) installPython(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "VERSION")
	if err != nil {
		return err
	}
	return a.gainPython(ctx, cmd, admin.PythonRequest{Version: args[0]})
}

func (a *app) gainPython(ctx context.Context, cmd *cli.Command, request admin.PythonRequest) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	var last admin.PythonEvent
	err = client.Lines(ctx, c, http.MethodPost, client.Path("pythons"), request, func(e admin.PythonEvent) error {
		if e.Progress != "" {
			fmt.Fprintln(a.stderr, printable(e.Progress))
		}
		last = e
		return nil
	})
	switch {
	case err != nil:
		return err
	case last.Error != nil:
		return last.Error
	case last.Python == nil:
		return errors.New("the server went away: see `apibuilder python list`")
	}
	return a.show(cmd, last.Python, func(w io.Writer) { row(w, "Python", last.Python.Version, "is offered", last.Python.Path) })
}

func (a *app) removePython(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "VERSION or PATH")
	if err != nil {
		return err
	}
	var p admin.Python
	if err := a.call(ctx, cmd, http.MethodDelete, client.Path("pythons", args[0]), nil, &p); err != nil {
		return err
	}
	return a.show(cmd, p, func(w io.Writer) { row(w, "Python", p.Version, "is no longer offered", p.Path) })
}
