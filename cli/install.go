package cli

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/urfave/cli/v3"
)

//go:embed install/apibuilder.service
var serviceUnit string

//go:embed install/apibuilder.socket
var socketUnit string

// Where an installation is. Below /usr/local and /etc/systemd/system nothing of a distribution's own packages is touched.
const (
	installedBinary  = "/usr/local/bin/apibuilder"
	installedService = "/etc/systemd/system/apibuilder.service"
	installedSocket  = "/etc/systemd/system/apibuilder.socket"
)

func (a *app) installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "install this program as a systemd service, and start it",
		Description: "Copies the program to " + installedBinary + ", writes the units apibuilder.service and apibuilder.socket\n" +
			"and, where there is none, the configuration " + defaultConfig + " with the settings given here. An installation\n" +
			"that is there already is brought up to date and restarted; connections wait meanwhile. With --root it only writes\n" +
			"the files, below another directory.",
		Flags: append(settingFlags(true),
			&cli.StringFlag{Name: "root", Usage: "write below `DIR`, for images and packages, and start nothing"},
			&cli.BoolFlag{Name: "no-start", Usage: "do not enable and start the service"},
		),
		Action: a.install,
	}
}

func (a *app) uninstallCommand() *cli.Command {
	return &cli.Command{
		Name:        "uninstall",
		Usage:       "stop the systemd service and take away what install wrote",
		Description: "The configuration and the data stay, unless --purge is given.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root", Usage: "take away below `DIR`, and stop nothing"},
			&cli.BoolFlag{Name: "purge", Usage: "remove the configuration and the data directory with all APIs too"},
			&cli.BoolFlag{Name: "yes", Usage: "with --purge: do not ask"},
		},
		Action: a.uninstall,
	}
}

// installation is what install and uninstall work on.
type installation struct {
	root   string // empty: this system
	config string
}

func (i installation) path(name string) string { return filepath.Join(i.root, name) }

// installed is what --json prints.
type installed struct {
	Files   []string `json:"files"`
	Started bool     `json:"started"`
	DataDir string   `json:"data_dir"`
	Listen  string   `json:"listen"`
}

func (a *app) install(ctx context.Context, cmd *cli.Command) error {
	options, err := serveOptionsOf(cmd) // refuses wrong settings before anything is written
	if err != nil {
		return err
	}
	i := installation{cmd.String("root"), configPath(cmd)}
	if err := i.check(options); err != nil {
		return err
	}
	start := i.root == "" && !cmd.Bool("no-start")
	if i.root == "" {
		if err := requireRoot("install"); err != nil {
			return err
		}
	}
	if start {
		if _, err := os.Stat("/run/systemd/system"); err != nil { // sd_booted(3)
			return errors.New("this machine is not run by systemd: give --no-start to write the files, or run `apibuilder serve` yourself")
		}
	}
	result := installed{Started: start, DataDir: options.dataDir, Listen: options.listen}
	if result.Files, err = i.write(cmd, options); err != nil {
		return err
	}
	if start {
		err = a.systemctl(ctx, []string{"daemon-reload"}, []string{"enable", "apibuilder.socket", "apibuilder.service"},
			[]string{"restart", "apibuilder.socket", "apibuilder.service"})
		if err != nil {
			return err
		}
	}
	return a.show(cmd, result, func(w io.Writer) {
		for _, file := range result.Files {
			row(w, "wrote", file)
		}
		if start {
			row(w, "started", "apibuilder.service, listening on "+options.listen)
			row(w, "next", "apibuilder deploy FILE --name NAME; the log is in journalctl -u apibuilder")
		}
	})
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)

// check refuses what the units cannot say.
func (i installation) check(o serveOptions) error {
	if !plainPath.MatchString(i.config) {
		return usagef("--config %q: a service needs an absolute path of letters, digits and . _ -", i.config)
	}
	if !plainPath.MatchString(o.dataDir) {
		return usagef("--data-dir %q: a service needs an absolute path of letters, digits and . _ -", o.dataDir)
	}
	if _, err := socketAddress(o.listen); err != nil {
		return usagef("--listen %q: a service needs an address and a port, like 0.0.0.0:8080 or :8080", o.listen)
	}
	return nil
}

// socketAddress is an address as systemd.socket(5) takes it; an empty host means all of this machine's.
func socketAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("read port %q: %w", port, err)
	}
	if host == "" {
		return port, nil
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(address.String(), port), nil
}

// write writes all files and returns their names on the installed system.
func (i installation) write(cmd *cli.Command, options serveOptions) ([]string, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	files := []string{installedBinary, installedService, installedSocket}
	listen, err := socketAddress(options.listen)
	if err != nil {
		return nil, err
	}
	values := map[string]string{"Listen": listen, "Binary": installedBinary, "Config": i.config, "DataDir": options.dataDir}
	contents := [][]byte{program, fill(serviceUnit, values), fill(socketUnit, values)}
	modes := []fs.FileMode{0o755, 0o644, 0o644}
	_, err = os.Stat(i.path(i.config))
	given := givenSettings(cmd)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, ok := given["no_example"]; !ok {
			given["no_example"] = "true" // its key would be printed into the system's log
		}
		files, contents, modes = append(files, i.config), append(contents, configText(given)), append(modes, 0o600)
	case err != nil:
		return nil, err
	case len(given) > 0:
		return nil, usagef("%s is there already: write the settings into it, and run `apibuilder install` without them", i.config)
	}
	if i.root == "" { // the unit may write there, wherever it is, when it is there at the start
		data, err := openDataDir(options.dataDir)
		if err != nil {
			return nil, err
		}
		if err := data.close(); err != nil {
			return nil, err
		}
	}
	for n, name := range files {
		if err := writeFile(i.path(name), contents[n], modes[n]); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return files, nil
}

func (a *app) uninstall(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	i := installation{cmd.String("root"), configPath(cmd)}
	remove := []string{installedService, installedSocket, installedBinary}
	if cmd.Bool("purge") {
		remove = append(remove, i.config, settings.text("data-dir"))
		if !cmd.Bool("yes") {
			if err := a.confirm(fmt.Sprintf("Remove %s with all APIs, keys and usage records?", settings.text("data-dir"))); err != nil {
				return err
			}
		}
	}
	if i.root == "" {
		if err := requireRoot("uninstall"); err != nil {
			return err
		}
		if _, err := os.Stat(installedService); err == nil {
			if err := a.systemctl(ctx, []string{"disable", "--now", "apibuilder.service", "apibuilder.socket"}); err != nil {
				return err
			}
		}
	}
	for _, name := range remove {
		if err := os.RemoveAll(i.path(name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	if i.root == "" {
		if err := a.systemctl(ctx, []string{"daemon-reload"}); err != nil {
			return err
		}
	}
	return a.show(cmd, installed{Files: remove, DataDir: settings.text("data-dir")}, func(w io.Writer) {
		for _, file := range remove {
			row(w, "removed", file)
		}
	})
}

// systemctl carries out commands one after the other.
func (a *app) systemctl(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		c := exec.CommandContext(ctx, "systemctl", args...)
		c.Stdout, c.Stderr = a.stderr, a.stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("systemctl %s: %w: see `journalctl -u apibuilder`", strings.Join(args, " "), err)
		}
	}
	return nil
}

func configPath(cmd *cli.Command) string {
	if cmd.IsSet("config") {
		return cmd.String("config")
	}
	return defaultConfig
}

// givenSettings are the settings on the command line, by their key in the file.
func givenSettings(cmd *cli.Command) map[string]string {
	given := map[string]string{}
	for _, s := range allSettings {
		if !s.secret && s.flag != "server" && cmd.IsSet(s.flag) {
			given[s.key()] = fmt.Sprint(cmd.Value(s.flag))
		}
	}
	return given
}

// configText is a configuration with the settings that are given, and all others as comments with their defaults.
func configText(given map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString("# Settings of apibuilder; `apibuilder serve --help` says what each is. systemctl restart apibuilder\n\n")
	for _, s := range allSettings {
		if s.secret || s.flag == "server" {
			continue
		}
		if text, ok := given[s.key()]; ok {
			fmt.Fprintf(&b, "%s = %s\n", s.key(), tomlText(text))
		} else {
			fmt.Fprintf(&b, "# %s = %s\n", s.key(), tomlText(s.value))
		}
	}
	return b.Bytes()
}

// tomlText is a basic string of TOML 1.0, in which the escapes of JSON are good.
func tomlText(text string) string {
	var b bytes.Buffer
	_ = writeJSON(&b, text) // a string can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

func fill(text string, values map[string]string) []byte {
	var b bytes.Buffer
	template.Must(template.New("unit").Parse(text)).Execute(&b, values) //nolint:errcheck // a map of texts into memory
	return b.Bytes()
}

// writeFile puts a whole file in place of an old one, which may be a program that runs.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".apibuilder-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
