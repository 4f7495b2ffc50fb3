package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) openCommand() *cli.Command {
	return &cli.Command{
		Name:      "open",
		Usage:     "print the address of an API's interactive documentation, and open it in a browser",
		ArgsUsage: "NAME",
		Description: "A browser is opened when standard output is a terminal in a graphical session that has xdg-open. Pages of an API that is\n" +
			"not public need a key, which a browser does not send: `apis update NAME --public-docs` opens them to everybody.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "no-browser", Usage: "print the address and do nothing else"}},
		Action: a.open,
	}
}

// opened is what open prints with --json.
type opened struct {
	Name    string `json:"name"`
	DocsURL string `json:"docs_url"`
	NeedKey bool   `json:"need_key"`
	Browser bool   `json:"browser"` // one was opened
}

func (a *app) open(ctx context.Context, cmd *cli.Command) error {
	args, err := arguments(cmd, "NAME")
	if err != nil {
		return err
	}
	var api admin.API
	if err := a.call(ctx, cmd, "GET", client.Path("apis", args[0]), nil, &api); err != nil {
		return err
	}
	out := opened{Name: api.Name, DocsURL: api.DocsURL, NeedKey: !api.Public && !api.PublicDocs}
	if !cmd.Bool("no-browser") && !cmd.Bool("json") {
		if browser := a.browser(); browser != "" {
			if err := openIn(ctx, browser, api.DocsURL); err != nil {
				return err
			}
			out.Browser = true
		}
	}
	if out.NeedKey {
		fmt.Fprintf(a.stderr, "its pages need a key: `apibuilder apis update %s --public-docs` opens them to everybody\n", printable(api.Name))
	}
	return a.show(cmd, out, func(w io.Writer) { row(w, api.DocsURL) })
}

// browser is the program that opens an address, empty where nobody could see what it opens.
func (a *app) browser() string {
	file, ok := a.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	path, err := exec.LookPath("xdg-open")
	if err != nil {
		return ""
	}
	return path
}

// openIn opens an address, which a server has told: nothing but one of the web is opened.
func openIn(ctx context.Context, browser, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the server tells %q, which is no address of a page", address)
	}
	if out, err := exec.CommandContext(ctx, browser, u.String()).CombinedOutput(); err != nil {
		return fmt.Errorf("open %s with %s: %w: %s: give --no-browser", u, browser, err, out)
	}
	return nil
}
