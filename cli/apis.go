package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) apisCommand() *cli.Command {
	return &cli.Command{
		Name:  "apis",
		Usage: "list, show, change and delete APIs",
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "list APIs by name", Action: a.listAPIs,
				Flags: listFlags(
					&cli.StringFlag{Name: "name", Usage: "with that `TEXT` in the name"},
					&cli.StringFlag{Name: "user", Usage: "of the user with that `NAME` or id"},
					&cli.StringFlag{Name: "state", Usage: "in that `STATE`: deploying or serving"},
					&cli.BoolFlag{Name: "public", Usage: "those that need no key; --public=false: those that do"},
				),
			},
			{Name: "show", Usage: "show one API with its versions and what went wrong", ArgsUsage: "NAME", Action: a.showAPI},
			{
				Name: "update", Usage: "change an API's settings", ArgsUsage: "NAME", Action: a.updateAPI,
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "public", Usage: "consumers need no key; --public=false takes it back"},
					&cli.BoolFlag{Name: "public-docs", Usage: "the documentation pages need no key"},
					&cli.StringFlag{Name: "rate", Usage: "limit over all consumers of the API: `60/m`, 10/30s, unlimited"},
					setFlag(),
				},
			},
			{Name: "options", Usage: "list the options that --set takes", Action: a.listOptions},
			a.sleepCommand(), a.wakeCommand(),
			{
				Name: "delete", Usage: "delete an API with its versions and keys", ArgsUsage: "NAME", Action: a.deleteAPI,
				Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "do not ask"}},
			},
		},
	}
}

func (a *app) listAPIs(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	var apis []admin.API
	if err := a.list(ctx, cmd, client.Path("apis"), &apis); err != nil {
		return err
	}
	return a.show(cmd, apis, func(w io.Writer) {
		row(w, "NAME", "ID", "STATE", "VERSION", "ACCESS", "RATE", "URL")
		for _, api := range apis {
			row(w, api.Name, api.ID, api.State, api.ActiveVersion, access(api), rateText(api.Rate), api.URL)
		}
	})
}

func access(api admin.API) string {
	if api.Public {
		return "public"
	}
	return "key"
}

func (a *app) showAPI(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	var api admin.API
	if err := a.call(ctx, cmd, "GET", client.Path("apis", args[0]), nil, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { describeAPI(w, api) })
}

func describeAPI(w io.Writer, api admin.API) {
	row(w, "Name", api.Name)
	row(w, "ID", api.ID)
	row(w, "URL", api.URL)
	for _, address := range api.Addresses {
		row(w, "Address", address)
	}
	row(w, "Docs", api.DocsURL)
	row(w, "State", api.State)
	if t := api.Trouble; t != nil {
		row(w, "Trouble", troubleText(*t))
	}
	row(w, "Owner", api.User)
	row(w, "Public", yesNo(api.Public))
	row(w, "Public docs", yesNo(api.PublicDocs))
	row(w, "Rate", rateText(api.Rate))
	optionRows(w, api)
	if api.Limits != nil {
		row(w, "Limits", limitsText(*api.Limits))
	}
	if api.LimitOrigins != nil {
		row(w, "Limits from", originsText(*api.LimitOrigins, api.Plan))
	}
	instanceRows(w, api)
	egressRows(w, api.Egress)
	fmt.Fprintln(w)
	versionRows(w, api)
	if len(api.Versions) >= admin.ShownVersions {
		fmt.Fprintf(w, "there may be older ones: see `apibuilder versions %s`\n", api.Name)
	}
	if len(api.Exits) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "EXIT", "VERSION", "REASON")
	for _, e := range api.Exits {
		row(w, timeText(e.Time), e.Version, e.Reason)
		indent(w, e.Detail)
		indent(w, e.Output)
	}
}

func troubleText(t admin.Trouble) string {
	kind := "held off"
	if t.Loop {
		kind = "crash_loop: not started"
	}
	return fmt.Sprintf("%s until %s after %d failures in a row, the last one %s; `apis wake` or a deploy starts it at once",
		kind, timeText(t.Until), t.Failures, printable(t.Reason))
}

func versionRows(w io.Writer, api admin.API) {
	row(w, "VERSION", "STATE", "REQUESTS", "PYTHON", "CREATED", "LIMITS", "FILES", "REASON")
	for _, v := range api.Versions {
		state := v.State
		if v.Number == api.ActiveVersion {
			state = "active"
		}
		row(w, v.Number, state, trafficText(api, v.Number), v.Python, timeText(v.CreatedAt), limitsText(v.Limits), versionFiles(v), v.Reason)
		if v.Detail != "" {
			indent(w, v.Detail)
		}
	}
}

// versionFiles says what a version was deployed from.
func versionFiles(v admin.Version) string {
	if v.Files == 0 {
		return filesText(1, int64(v.CodeBytes))
	}
	return filesText(v.Files, v.FileBytes)
}

func (a *app) updateAPI(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	patch := admin.APIPatch{Public: boolFlag(cmd, "public"), PublicDocs: boolFlag(cmd, "public-docs")}
	if patch.Rate, err = rateFlag(cmd); err != nil {
		return err
	}
	if patch.Options, err = optionsFlag(cmd); err != nil {
		return err
	}
	if reflect.ValueOf(patch).IsZero() {
		return usagef("apis update changes nothing: give --public, --public-docs, --rate or --set")
	}
	var api admin.API
	if err := a.call(ctx, cmd, "PATCH", client.Path("apis", args[0]), patch, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { describeAPISettings(w, api) })
}

func describeAPISettings(w io.Writer, api admin.API) {
	row(w, "Name", api.Name)
	row(w, "Public", yesNo(api.Public))
	row(w, "Public docs", yesNo(api.PublicDocs))
	row(w, "Rate", rateText(api.Rate))
	optionRows(w, api)
}

func (a *app) deleteAPI(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	tag := ""
	if !cmd.Bool("yes") { // what is confirmed is the API as it was when the question was asked
		if err := a.canAsk(); err != nil {
			return err
		}
		if tag, err = a.tag(ctx, cmd, client.Path("apis", args[0])); err != nil {
			return err
		}
		if err := a.confirm(ctx, fmt.Sprintf("Delete API %s with its versions and keys?", args[0])); err != nil {
			return err
		}
	}
	var api admin.API
	if err := a.callIf(ctx, cmd, "DELETE", client.Path("apis", args[0]), tag, nil, &api); err != nil {
		return err
	}
	return a.show(cmd, api, func(w io.Writer) { row(w, api.Name, api.ID, "is deleted") })
}

// canAsk returns an error where nobody can answer a question, because there is no terminal.
func (a *app) canAsk() error {
	file, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return usagef("standard input is no terminal to ask on: give --yes")
	}
	return nil
}

// confirm asks on a terminal.
func (a *app) confirm(ctx context.Context, question string) error {
	if err := a.canAsk(); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", printable(question))
	type reply struct {
		text string
		err  error
	}
	replied := make(chan reply, 1)
	go func() { // a terminal that nobody types on is read until the process ends, which is soon
		text, err := bufio.NewReader(a.stdin).ReadString('\n')
		replied <- reply{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return errors.New("interrupted: nothing is deleted")
	case r := <-replied:
		if r.err != nil {
			return fmt.Errorf("read the answer: %w", r.err)
		}
		switch strings.ToLower(strings.TrimSpace(r.text)) {
		case "y", "yes":
			return nil
		}
		return errors.New("nothing is deleted")
	}
}

// tag reads the tag of something, to change it only as it is now.
func (a *app) tag(ctx context.Context, cmd *cli.Command, path string) (string, error) {
	c, err := a.client(cmd)
	if err != nil {
		return "", err
	}
	return c.CallIf(ctx, "GET", path, "", nil, nil)
}

// callIf is call for something that must have that tag still; an empty one is any.
func (a *app) callIf(ctx context.Context, cmd *cli.Command, method, path, tag string, body, into any) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	_, err = c.CallIf(ctx, method, path, tag, body, into)
	return err
}

// call sends one request to the server that the settings name.
func (a *app) call(ctx context.Context, cmd *cli.Command, method, path string, body, into any) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	return c.Call(ctx, method, path, body, into)
}
