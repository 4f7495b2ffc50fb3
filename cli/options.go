package cli

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/store/options"
)

func setFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "set",
		Usage: "option of the API `NAME=VALUE`, may be given several times; no VALUE takes it back; see `apis options`",
	}
}

// optionsFlag reads --set; nil when it was not given. Values may contain commas and equals signs.
func optionsFlag(cmd *cli.Command) (map[string]string, error) {
	var texts map[string]string
	for _, item := range cmd.StringSlice("set") {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, usagef("--set %q: write NAME=VALUE, or NAME= for the default", item)
		}
		if _, twice := texts[name]; twice {
			return nil, usagef("--set %s is given twice: give it once", name)
		}
		if texts == nil {
			texts = map[string]string{}
		}
		texts[name] = value
	}
	return texts, nil
}

func optionRows(w io.Writer, api admin.API) {
	for i, name := range slices.Sorted(maps.Keys(api.Options)) {
		label := ""
		if i == 0 {
			label = "Options"
		}
		row(w, label, name+"="+printable(api.Options[name]))
	}
}

// optionInfo is one option as --json prints it.
type optionInfo struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Usage   string `json:"usage"`
}

// listOptions needs no server: the table is the same for every one of this version.
func (a *app) listOptions(_ context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var infos []optionInfo
	for _, o := range options.All() {
		infos = append(infos, optionInfo{o.Name, o.Value, o.Default, o.Usage})
	}
	return a.show(cmd, infos, func(w io.Writer) {
		row(w, "OPTION", "VALUE", "DEFAULT", "IS")
		for _, o := range infos {
			row(w, o.Name, o.Value, strings.ReplaceAll(o.Default, "`", ""), strings.ReplaceAll(o.Usage, "`", ""))
		}
	})
}
