package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// run carries out a command line as main does.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), append([]string{"apibuilder"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// settingsOf returns what serve would see.
func settingsOf(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var got settings
	var failed error
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	root := a.root()
	root.Command("serve").Action = func(_ context.Context, cmd *cli.Command) error {
		got, failed = loadSettings(cmd)
		return nil
	}
	if err := root.Run(t.Context(), append([]string{"apibuilder"}, args...)); err != nil {
		t.Fatal(err)
	}
	return got, failed
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	config := writeConfig(t, "listen = 'file:1'\ndata_dir = '/file'\ndefault_pids = 7\n")
	t.Setenv("APIBUILDER_CONFIG", config)
	want := func(listen string, args ...string) {
		t.Helper()
		s, err := settingsOf(t, args...)
		if err != nil || s.text("listen") != listen {
			t.Fatalf("listen %q, want %q; %v", s.text("listen"), listen, err)
		}
	}
	want("file:1", "serve")
	t.Setenv("APIBUILDER_LISTEN", "env:1")
	want("env:1", "serve")
	want("flag:1", "serve", "--listen", "flag:1")
	t.Setenv("APIBUILDER_LISTEN", "") // as good as unset
	want("file:1", "serve")

	s, err := settingsOf(t, "serve", "--data-dir", "/flag")
	if err != nil || s.text("data-dir") != "/flag" || s.text("default-pids") != "7" || s.text("start-timeout") != "30s" {
		t.Fatalf("settings %v, %v", s, err)
	}
	if s, _ := settingsOf(t, "--data-dir", "/flag", "serve"); s.text("data-dir") != "/flag" {
		t.Fatal("a flag before the command is lost")
	}
	other := writeConfig(t, "listen = 'other:1'")
	want("other:1", "serve", "--config", other)
}

func TestBadConfigIsAUsageErrorThatNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"listne = 'x'":          `no key "listne"`,
		"[serve]\nlisten = 'x'": `no key "serve"`,
		"listen = ['x']":        "listen must be",
		"listen = ":             "config.toml",
		"start_timeout = 'x'":   "start_timeout in ",
		"no_example = 'maybe'":  "no_example in ",
	} {
		code, _, stderr := run(t, "serve", "--config", writeConfig(t, text))
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit %d, %s", text, code, stderr)
		}
	}
	if code, _, stderr := run(t, "serve", "--config", "/nowhere/x.toml"); code != exitUsage || !strings.Contains(stderr, "/nowhere/x.toml") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestAnEmptySettingIsNoDefault: an unset variable of a shell made the working directory the data directory, and what turns other addresses
// off made --listen a port of all addresses.
func TestAnEmptySettingIsNoDefault(t *testing.T) {
	for _, s := range allSettings {
		if s.value == "" || s.secret {
			continue
		}
		if _, err := settingsOf(t, "serve", "--"+s.flag, ""); err == nil || !strings.Contains(err.Error(), "--"+s.flag+" is empty") {
			t.Errorf("--%s: %v", s.flag, err)
		}
		_, err := settingsOf(t, "serve", "--config", writeConfig(t, s.key()+" = ''"))
		if usage, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(usage.text, s.key()+" in ") {
			t.Errorf("%s: %v", s.key(), err)
		}
	}
	if _, err := settingsOf(t, "serve", "--admin-listen", ""); err != nil {
		t.Error(err)
	}
}

func TestBadSettingsNameWhereTheyComeFrom(t *testing.T) {
	t.Setenv("APIBUILDER_DEFAULT_MEMORY", "much")
	if code, _, stderr := run(t, "serve"); code != exitUsage || !strings.Contains(stderr, "APIBUILDER_DEFAULT_MEMORY") {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	for _, args := range [][]string{
		{"--uid-range", "0-10"},
		{"--public-url", "example.com"},
		{"--drain-timeout", "-1s"},
		{"--default-memory", "x"},
		{"--log-level", "loud"},
		{"--max-body", "0"},
		{"--allow-requirements", "url,editable"},
	} {
		code, _, stderr := run(t, append([]string{"serve"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, args[0]+":") {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// The closer of --server and --data-dir is meant: a --data-dir on the command line beats a server in the environment.
func TestServerOrDataDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("APIBUILDER_SERVER", "http://127.0.0.1:1")
	if _, _, stderr := run(t, "apis", "list", "--data-dir", dir); !strings.Contains(stderr, "no server runs on data directory "+dir) {
		t.Fatal(stderr)
	}
	if code, _, stderr := run(t, "apis", "list"); code != exitUsage || !strings.Contains(stderr, "APIBUILDER_TOKEN") {
		t.Fatalf("exit %d, %s", code, stderr)
	}
}

func TestUsageErrorsExit2AndSayWhereHelpIs(t *testing.T) {
	app := filepath.Join(t.TempDir(), "app.py")
	if err := os.WriteFile(app, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"bogus"},
		{"apis", "bogus"},
		{"apis", "show"},
		{"apis", "show", "a", "b"},
		{"apis", "show", ""},
		{"serve", "x"},
		{"serve", "--nope"},
		{"deploy"},
		{"deploy", app},
		{"deploy", app, "--name"},
		{"keys", "create"},
		{"keys", "create"},
		{"deploy", app, "--name", "a", "--memory", "much"},
		{"deploy", app, "--name", "a", "--cpu", "-1"},
		{"deploy", app, "--name", "a", "--pids", "1.5"},
		{"deploy", app, "--name", "a", "--rate", "often"},
		{"deploy", app, "--name", "a", "--env", "noequals"},
		{"deploy", app, "--name", "a", "--env", "A=1", "--env", "A=2"},
		{"apis", "delete", "a"},
		{"apis", "update", "a"},
		{"plans", "set", "pro"},
		{"plans", "set", "pro", "--memory", "much"},
		{"plans", "set", "pro", "--max-cpu", "-1"},
		{"users", "update", "bob"},
		{"usage", "--since", "yesterday"},
		{"usage", "--limit", "x"},
		{"logs"},
		{"sandbox", "test", "--only", "no-such-check"},
		{"sandbox", "test", app, "--only", "kernel"},
		{"sandbox", "test", app, "--data", "x"},
		{"sandbox", "test", app, "--request", "GET"},
	} {
		if code, stdout, stderr := run(t, args...); code != exitUsage || stderr == "" || stdout != "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

func TestErrorsNeverRepeatAnEnvValue(t *testing.T) {
	app := filepath.Join(t.TempDir(), "app.py")
	if err := os.WriteFile(app, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range [][]string{{"--env", "hunter2"}, {"--env", "=hunter2"}, {"--env", "A=hunter2", "--env", "A=hunter2"}} {
		_, stdout, stderr := run(t, append([]string{"deploy", app, "--name", "a", "--json"}, env...)...)
		if strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%q: %s%s", env, stdout, stderr)
		}
	}
}

func TestFailureWithJSONIsOneProblem(t *testing.T) {
	code, stdout, stderr := run(t, "apis", "list", "--json", "--data-dir", t.TempDir())
	var problem struct{ Type, Detail string }
	if err := json.Unmarshal([]byte(stdout), &problem); err != nil || code != exitFailure || problem.Type != "failed" || stderr == "" {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
}

func TestVersionJSON(t *testing.T) {
	for _, args := range [][]string{{"version", "--json"}, {"--json", "version"}} {
		code, stdout, _ := run(t, args...)
		var v versionInfo
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != exitOK || v.Version == "" {
			t.Fatalf("exit %d, %v: %s", code, err, stdout)
		}
	}
}

// readAs is what a part of serve makes of its arguments.
func readAs[T any](t *testing.T, read func(settings) (T, error), args ...string) T {
	t.Helper()
	s, err := settingsOf(t, append([]string{"serve"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := read(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
