package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
)

func (a *app) installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "install this program as a systemd service, and start it",
		Description: "Copies the program to " + installedPlace.binary + ", writes the unit apibuilder.service, one socket unit for each of\n" +
			"--listen, --listen-tls and --listen-redirect that is set, and, where there is none, the configuration\n" +
			defaultConfig + " with the settings given here or in the environment. An installation that is there already is\n" +
			"brought up to date and restarted; connections wait meanwhile, but for those to an address that changes. With --root\n" +
			"it only writes the files, below another directory, whose configuration counts and not this machine's.",
		Flags: append(settingFlags(true),
			&cli.StringFlag{Name: "root", Usage: "write below `DIR`, for images and packages, and start nothing"},
			&cli.BoolFlag{Name: "no-start", Usage: "do not enable and start the service"},
			&cli.BoolFlag{Name: "packaged", Usage: "with --root: write the files of a distribution's package, at its places"},
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
	place
	root     string // empty: this system
	config   string
	packaged bool
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
	if _, err := arguments(cmd); err != nil {
		return err
	}
	i := newInstallation(cmd)
	if cmd.Bool("packaged") {
		i.packaged, i.place = true, packagedPlace
	}
	settings, given, err := i.settings(cmd)
	if err != nil {
		return err
	}
	options, err := readServeOptions(settings) // refuses wrong settings before anything is written
	if err != nil {
		return err
	}
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
		if !booted() {
			return errors.New("this machine is not run by systemd: give --no-start to write the files, or run `apibuilder serve` yourself")
		}
	}
	result := installed{Started: start, DataDir: options.dataDir, Listen: options.listen}
	kept, err := i.keptUnits(options)
	if err != nil {
		return err
	}
	if result.Files, err = i.write(given, options); err != nil {
		return err
	}
	if start {
		if err := a.startUnits(ctx, options, kept); err != nil {
			return err
		}
	}
	return a.show(cmd, result, func(w io.Writer) {
		for _, file := range result.Files {
			row(w, "wrote", file)
		}
		if start {
			wanted, _ := sockets(options)
			for _, s := range wanted {
				row(w, "listening", s.address(options), s.what)
			}
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
	wanted, _ := sockets(o)
	for _, s := range wanted {
		if _, err := socketAddress(s.address(o)); err != nil {
			return usagef("--%s %q: a service needs an address and a port, like 0.0.0.0:8080 or :8080", s.setting, s.address(o))
		}
	}
	switch {
	case i.packaged && i.root == "":
		return usagef("--packaged writes the files of a package: give --root, the directory that it is made from")
	case !i.packaged && i.root == "" && i.exists(path.Join(packagedPlace.units, serviceName)):
		return errors.New("apibuilder is installed as a package on this machine: write the settings into " + i.config +
			" and run `systemctl enable --now apibuilder`, or remove the package first")
	}
	return nil
}

// startUnits has systemd run what was written, and nothing else of ours. Sockets that are as they were stay open, because systemd closes one that it
// restarts, with all connections that wait in it.
func (a *app) startUnits(ctx context.Context, o serveOptions, kept []string) error {
	wanted, unwanted := sockets(o)
	for _, s := range unwanted {
		file := path.Join(installedPlace.units, s.unit)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if err := a.systemctl(ctx, []string{"disable", "--now", s.unit}); err != nil {
			return err
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove %s: %w", file, err)
		}
	}
	enable, restart := []string{"enable"}, []string{"restart"}
	for _, unit := range unitNames(wanted) {
		enable = append(enable, unit)
		if !slices.Contains(kept, unit) || !listens(ctx, unit) {
			restart = append(restart, unit)
		}
	}
	// A running service holds its sockets; one whose address has changed can only be bound anew when it has let go.
	return a.systemctl(ctx, []string{"daemon-reload"}, append(enable, serviceName), append(restart, serviceName))
}

// listens reports whether the socket of a unit is open as its file says, which may have been written without being read since.
func listens(ctx context.Context, unit string) bool {
	stale, err := exec.CommandContext(ctx, "systemctl", "show", "--property=NeedDaemonReload", "--value", unit).Output()
	return err == nil && strings.TrimSpace(string(stale)) != "yes" &&
		exec.CommandContext(ctx, "systemctl", "is-active", "--quiet", unit).Run() == nil
}

// keptUnits are the units of sockets that are there already as they are to be.
func (i installation) keptUnits(o serveOptions) (kept []string, err error) {
	units, err := i.unitFiles(o)
	for _, unit := range units {
		there, missing := os.ReadFile(i.path(unit.name))
		if missing == nil && bytes.Equal(there, unit.content) && path.Ext(unit.name) == ".socket" {
			kept = append(kept, path.Base(unit.name))
		}
	}
	return kept, err
}

// write writes all files and returns their names on the installed system.
func (i installation) write(given map[string]string, options serveOptions) ([]string, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	files := []installedFile{{i.binary, program, 0o755}}
	units, err := i.unitFiles(options)
	if err != nil {
		return nil, err
	}
	files = append(files, units...)
	_, err = os.Stat(i.path(i.config))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, ok := given["no_example"]; !ok {
			given["no_example"] = "true" // its key would be printed into the system's log
		}
		files = append(files, installedFile{i.config, configText(given), 0o600})
	case err != nil:
		return nil, err
	case len(given) > 0:
		return nil, usagef("%s is there already: write the settings into it (%s), and run `apibuilder install` without them, also in the environment",
			i.config, strings.Join(slices.Sorted(maps.Keys(given)), ", "))
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
	var names []string
	for _, file := range files {
		if err := writeFile(i.path(file.name), file.content, file.mode); err != nil {
			return nil, fmt.Errorf("write %s: %w", file.name, err)
		}
		names = append(names, file.name)
	}
	return names, nil
}

func (a *app) uninstall(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	i := newInstallation(cmd)
	settings, _, err := i.settings(cmd)
	if err != nil {
		return err
	}
	remove, units := i.installed()
	if cmd.Bool("purge") {
		if err := noStrangers(i.path(settings.text("data-dir"))); err != nil {
			return err
		}
		// The data first: by the units and the configuration it is found again when it could not be removed.
		remove = append([]string{settings.text("data-dir"), i.config}, remove...)
		if !cmd.Bool("yes") {
			if err := a.confirm(ctx, fmt.Sprintf("Remove %s with all APIs, keys and usage records?", settings.text("data-dir"))); err != nil {
				return err
			}
		}
	}
	if i.root == "" {
		if err := requireRoot("uninstall"); err != nil {
			return err
		}
		if len(units) > 0 && booted() {
			if err := a.systemctl(ctx, append([]string{"disable", "--now"}, units...)); err != nil {
				return err
			}
		}
	}
	if cmd.Bool("purge") && i.root == "" { // a server of the administrator's own may run there
		free, err := lockThere(settings.text("data-dir"))
		if err != nil {
			return err
		}
		defer free()
	}
	for _, name := range remove {
		if err := removeAll(i.path(name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	if i.root == "" && booted() {
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

// noStrangers refuses to remove a data directory with what is not the server's.
func noStrangers(dir string) error {
	strangers, err := (&dataDir{path: dir}).strangers()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look into the data directory: %w", err)
	case len(strangers) > 0:
		return fmt.Errorf("%s holds what is not the server's, %s for example: move that away, or remove the directory yourself", dir, strangers[0])
	}
	return nil
}

// lockThere locks a data directory if there is one.
func lockThere(dir string) (free func(), err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	data, err := openDataDir(dir)
	if err != nil {
		return nil, err
	}
	if err := data.lock(); err != nil {
		return nil, err
	}
	return func() { _ = data.close() }, nil
}

// removeAll is os.RemoveAll, but that directories stay on which a disk is mounted: they cannot be removed.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	errFile := errors.New("a file")
	if filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			err = errFile
		}
		return err
	}) != nil {
		return err
	}
	return nil
}

// installed lists the files of an installation that there are, but for its configuration and its data, and which of them are
// units.
func (i installation) installed() (files, units []string) {
	for _, unit := range append([]string{serviceName}, unitNames(allSockets)...) {
		if file := path.Join(i.units, unit); i.exists(file) {
			files, units = append(files, file), append(units, unit)
		}
	}
	if i.exists(i.binary) {
		files = append(files, i.binary)
	}
	return files, units
}

// booted reports whether systemd runs this machine, see sd_booted(3).
func booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
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

// unitConfig finds the configuration in a unit of ours.
var unitConfig = regexp.MustCompile(`(?m)^ExecStart=\S+ serve --config (\S+)$`)

// newInstallation is one with the configuration that the command names, else that of the service that is there already.
func newInstallation(cmd *cli.Command) installation {
	config, named := configPath(cmd)
	i := installation{place: installedPlace, root: cmd.String("root"), config: config}
	if unit, err := os.ReadFile(i.path(path.Join(i.units, serviceName))); err == nil && !named {
		if found := unitConfig.FindSubmatch(unit); found != nil {
			i.config = string(found[1])
		}
	}
	return i
}

// settings are those that the service will have, with its own configuration and not this machine's. Given are those of the flags and of the
// environment that are not in that, by their key there.
func (i installation) settings(cmd *cli.Command) (all settings, given map[string]string, err error) {
	_, named := configPath(cmd)
	file, err := readConfig(i.path(i.config), named && i.root == "")
	if err != nil {
		return nil, nil, err
	}
	if all, err = settingsOver(cmd, file, i.config); err != nil {
		return nil, nil, err
	}
	given = map[string]string{}
	for _, s := range allSettings {
		v := all[s.flag]
		if s.secret || s.flag == "server" || v.origin <= fromFile {
			continue
		}
		there, ok := file[s.key()]
		if !ok {
			there = s.value
		}
		if file == nil || v.text != there {
			given[s.key()] = v.text
		}
	}
	return all, given, nil
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

// writeFile puts a whole file in place of an old one, which may be a program that runs, and waits until it is on the disk.
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
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir waits until the names in a directory are on the disk.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
