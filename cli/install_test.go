package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeSystemctl notes what it is told, and answers that a unit is active, and whether its file was changed since it was read.
func fakeSystemctl(t *testing.T, active, changed string) (told func() string) {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
case "$1" in
is-active) [ "$3" = "` + active + `" ] || exit 3 ;;
show) echo "` + changed + `" ;;
*) echo "$@" >>` + dir + `/told ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(filepath.Join(dir, "told"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func edgeOf(listen, secure string) serveOptions {
	return serveOptions{listen: listen, dataDir: "/var/lib/apibuilder", edge: edgeOptions{listenTLS: secure}}
}

// TestAnUpgradeLeavesSocketsOpen: systemd resets the connections that wait in a socket that it restarts.
func TestAnUpgradeLeavesSocketsOpen(t *testing.T) {
	i := installation{place: installedPlace, root: t.TempDir(), config: defaultConfig}
	if kept, err := i.keptUnits(edgeOf(":80", ":443")); err != nil || len(kept) != 0 {
		t.Fatalf("before the installation: %q, %v", kept, err)
	}
	if _, err := i.write(map[string]string{}, edgeOf(":80", ":443")); err != nil {
		t.Fatal(err)
	}
	kept, err := i.keptUnits(edgeOf(":80", ":444"))
	if err != nil || !slices.Equal(kept, []string{"apibuilder.socket"}) {
		t.Fatalf("with another address for TLS: %q, %v", kept, err)
	}
	for name, c := range map[string]struct{ active, changed, restarted string }{
		"it listens":           {"apibuilder.socket", "no", "restart apibuilder-tls.socket apibuilder.service\n"},
		"it is stopped":        {"", "no", "restart apibuilder.socket apibuilder-tls.socket apibuilder.service\n"},
		"it listens as it did": {"apibuilder.socket", "yes", "restart apibuilder.socket apibuilder-tls.socket apibuilder.service\n"},
	} {
		t.Run(name, func(t *testing.T) {
			told := fakeSystemctl(t, c.active, c.changed)
			a := &app{stderr: &bytes.Buffer{}}
			if err := a.startUnits(t.Context(), edgeOf(":80", ":444"), kept); err != nil {
				t.Fatal(err)
			}
			const want = "daemon-reload\nenable apibuilder.socket apibuilder-tls.socket apibuilder.service\n"
			if told() != want+c.restarted {
				t.Errorf("systemctl was told\n%s", told())
			}
		})
	}
}

// TestAnImageIsNotOfThisMachine: its units are those of the configuration that it has.
func TestAnImageIsNotOfThisMachine(t *testing.T) {
	here := writeConfig(t, "listen = '127.0.0.1:1'\n")
	t.Setenv("APIBUILDER_CONFIG", here)
	t.Setenv("APIBUILDER_DATA_DIR", "/srv/data")
	root := t.TempDir()
	install := func(args ...string) (int, string) {
		code, _, stderr := run(t, append([]string{"install", "--root", root}, args...)...)
		return code, stderr
	}
	if code, text := install(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, text)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if unit := read("etc/systemd/system/apibuilder.socket"); !strings.Contains(unit, "ListenStream=127.0.0.1:8080\n") {
		t.Errorf("it listens as this machine does:\n%s", unit)
	}
	if config := read(here); !strings.Contains(config, "\ndata_dir = \"/srv/data\"\n") || !strings.Contains(config, "\n# listen = ") {
		t.Errorf("the service lacks what its unit was made for:\n%s", config)
	}
	if unit := read("etc/systemd/system/apibuilder.service"); !strings.Contains(unit, "--config "+here+"\n") || !strings.Contains(unit, "=-/srv/data\n") {
		t.Errorf("the unit is of another configuration:\n%s", unit)
	}
	if code, text := install(); code != exitOK { // again, as an upgrade does
		t.Errorf("exit code %d: %s", code, text)
	}
	t.Setenv("APIBUILDER_DATA_DIR", "/srv/other")
	if code, text := install(); code != exitUsage || !strings.Contains(text, "is there already: write the settings into it (data_dir)") {
		t.Errorf("exit code %d: %s", code, text)
	}
}

// TestPurgeBesideAServer that systemd does not know.
func TestPurgeBesideAServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	data, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := data.lock(); err != nil {
		t.Fatal(err)
	}
	if _, err := lockThere(dir); err == nil || !strings.Contains(err.Error(), "another server uses data directory") {
		t.Errorf("error %v", err)
	}
	if err := data.close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, dir + "/none"} {
		free, err := lockThere(dir)
		if err != nil {
			t.Fatal(err)
		}
		free()
	}
}

// TestPurgeOfADirectoryOfOthers leaves it as it is: the data directory may be one that holds more, /srv for example.
func TestPurgeOfADirectoryOfOthers(t *testing.T) {
	data, err := openDataDir(filepath.Join(t.TempDir(), "srv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"apibuilder.db-wal", "node.new", ".listen-123", ".secrets.key-9", "lost+found"}, kept...) {
		if err := os.WriteFile(data.join(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{data.path, data.join("none")} {
		if err := noStrangers(dir); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"www", ".ssh", "runs", "files.zip"} {
		if err := os.WriteFile(data.join(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := noStrangers(data.path); err == nil || !strings.Contains(err.Error(), name+" for example") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(data.join(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatAServerKeepsIsDocumented, all of it and nothing else.
func TestWhatAServerKeepsIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## What is where\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var documented []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.Contains(cells[1], "`") {
			for name := range strings.SplitSeq(cells[1], ",") {
				documented = append(documented, strings.Trim(name, " `/"))
			}
		}
	}
	slices.Sort(documented)
	if want := slices.Sorted(slices.Values(kept)); !slices.Equal(documented, want) {
		t.Errorf("documented: %q\nkept: %q", documented, want)
	}
}

// TestPurgeOfADiskOfItsOwn removes what is on it.
func TestPurgeOfADiskOfItsOwn(t *testing.T) {
	if os.Getenv("PURGED") != "" {
		dir := os.Getenv("PURGED")
		if err := removeAll(dir); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Fatalf("left: %v, %v", left, err)
		}
		return
	}
	dir := t.TempDir()
	script := `mount -t tmpfs test "$PURGED" && mkdir "$PURGED/envs" && touch "$PURGED/apibuilder.db" "$PURGED/envs/file" && exec "$0" -test.run "^TestPurgeOfADiskOfItsOwn\$"`
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), "PURGED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestAnUpgradeKeepsTheConfiguration that the first installation named: with the default's the service began with nothing.
func TestAnUpgradeKeepsTheConfiguration(t *testing.T) {
	root := t.TempDir()
	for _, args := range [][]string{{"--config", "/etc/own.toml", "--data-dir", "/srv/data"}, nil} {
		if code, _, stderr := run(t, append([]string{"install", "--root", root}, args...)...); code != exitOK {
			t.Fatal(stderr)
		}
		unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/apibuilder.service"))
		if err != nil || !strings.Contains(string(unit), "serve --config /etc/own.toml\n") || !strings.Contains(string(unit), "=-/srv/data\n") {
			t.Fatalf("installed with %q: %v\n%s", args, err, unit)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "etc/apibuilder")); err == nil {
		t.Error("there is a second configuration")
	}
	if err := os.MkdirAll(filepath.Join(root, "srv/data"), 0o711); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, "uninstall", "--root", root, "--purge", "--yes"); code != exitOK {
		t.Fatal(stderr)
	}
	for _, name := range []string{"srv/data", "etc/own.toml"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s is there still", name)
		}
	}
}
