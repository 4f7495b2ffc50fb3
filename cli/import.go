package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v3"

	"apibuilder/adopt"
	"apibuilder/python-env"
	"apibuilder/store/postgres"
)

func (a *app) importCommand() *cli.Command {
	check := &cli.Command{
		Name:  "check",
		Usage: "say of each API of the replaced platform what would not work here, and why",
		Description: "Reads the table apis of the database that --database-url names, in a transaction that can only read, and\n" +
			"looks at the programs without running them. Changes nothing. Exits with 1 when an API would not work. Judges\n" +
			"requirements by the server's --allow-requirements, from the flag, the environment or the configuration file.",
		Flags: append(importFlags(), &cli.StringFlag{
			Name: "python", Usage: "`FILE` of the Python that reads the programs",
			DefaultText: "python3 in /usr/bin or /usr/local/bin",
		}),
		Action: a.importCheck,
	}
	return &cli.Command{Name: "import", Usage: "look at what the replaced platform has", Commands: []*cli.Command{check}}
}

// importFlags are those settings of serve that say where the database is and what authors may require.
func importFlags() []cli.Flag {
	return append(databaseFlags(), serveFlags("allow-requirements")...)
}

// databaseFlags are those settings of serve that say where the database is.
func databaseFlags() []cli.Flag { return serveFlags("database-url", "database-url-file") }

// serveFlags are some settings of serve, for other commands.
func serveFlags(names ...string) []cli.Flag {
	return slices.DeleteFunc(settingFlags(true), func(f cli.Flag) bool { return !slices.Contains(names, f.Names()[0]) })
}

// importReport is what import check prints with --json.
type importReport struct {
	APIs     int            `json:"apis"`
	Work     int            `json:"work"`
	Warnings int            `json:"warnings"` // that work, if what was found is brought by something else
	Rows     []adopt.Report `json:"rows"`
}

func (a *app) importCheck(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	url, err := databaseURL(settings)
	if err != nil {
		return err
	}
	if url.reveal() == "" {
		return usagef("import check needs --database-url, APIBUILDER_DATABASE_URL or --database-url-file")
	}
	python := cmd.String("python")
	if python == "" {
		python = adopt.DefaultPython()
	}
	allow, err := parse(settings, "allow-requirements", pythonenv.ParseAllow)
	if err != nil {
		return err
	}
	rows, err := postgres.ReadRows(ctx, url.reveal())
	if err != nil {
		return err
	}
	if rows == nil {
		return fmt.Errorf("the database has no table apis with id and code_snapshot in the first schema of its search path")
	}
	reports, err := adopt.Check(ctx, python, allow, rows)
	if err != nil {
		return err
	}
	out := importReport{APIs: len(reports), Rows: reports}
	for _, r := range reports {
		if r.Works {
			out.Work++
		}
		if r.Works && len(r.Findings) > 0 {
			out.Warnings++
		}
	}
	if err := a.show(cmd, out, func(w io.Writer) { showImport(w, out) }); err != nil {
		return err
	}
	if out.Work < out.APIs {
		return errReported
	}
	return nil
}

func showImport(w io.Writer, r importReport) {
	for _, api := range r.Rows {
		if len(api.Findings) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s %s\n", oneLine(api.ID), oneLine(api.Name))
		for _, f := range api.Findings {
			level := "warning"
			if f.Blocking {
				level = "problem"
			}
			fmt.Fprintf(w, "  %s %s: %s: %s\n", level, f.Kind, oneLine(f.Message), oneLine(f.Remedy))
		}
	}
	fmt.Fprintf(w, "%d of %d APIs would work, %d of them with a warning\n", r.Work, r.APIs, r.Warnings)
}
