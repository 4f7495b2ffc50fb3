package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/store"
	"apibuilder/store/sqlite"
)

const someNode = "node_abcdefgh234567ab"

// atWork is seeded's data directory while a server runs on it whose store is its file, or another one.
func atWork(t *testing.T, own bool) string {
	t.Helper()
	dir := seeded(t, "ann")
	if err := os.WriteFile(filepath.Join(dir, "node"), []byte(someNode+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".scratch", ".cache", ".bytecode", ".files"} {
		if err := os.MkdirAll(filepath.Join(dir, "envs", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := admin.ListenUnix(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if !own {
		return dir
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.BeatNode(t.Context(), store.Node{ID: someNode, Name: "here", Version: "1", StartedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestNoOtherStoreIsTakenForThatOfTheServer: its database is named in the environment of its service, which a shell lacks, and there may be
// a file from before. Environments would go that programs run in, and a backup would be of what was once.
func TestNoOtherStoreIsTakenForThatOfTheServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, as env does")
	}
	cli := func(dir string, args ...string) (int, string) {
		var out, problems bytes.Buffer
		code := Run(t.Context(), append(append([]string{"apibuilder"}, args...), "--data-dir", dir), strings.NewReader(""), &out, &problems)
		return code, problems.String()
	}
	own, other, none := atWork(t, true), atWork(t, false), atWork(t, false)
	if err := os.Remove(filepath.Join(none, "apibuilder.db")); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"list": {"env", "list"}, "prune": {"env", "prune", "--dry-run"}, "verify": {"env", "verify"},
		"backup": {"backup", filepath.Join(t.TempDir(), "backup")},
	} {
		if code, text := cli(other, args...); code != exitFailure || !strings.Contains(text, "has another store") {
			t.Errorf("%s beside the server of another store: exit code %d: %s", name, code, text)
		}
		if code, text := cli(none, args...); code != exitFailure || name != "backup" && !strings.Contains(text, "has another store") {
			t.Errorf("%s beside the server of another store, without a file: exit code %d: %s", name, code, text)
		}
		if code, text := cli(own, args...); code != exitOK {
			t.Errorf("%s beside the server: exit code %d: %s", name, code, text)
		}
	}
}

// TestABackupOfAServerThatCannotWrite is made, and says what is odd; environments are left alone.
func TestABackupOfAServerThatCannotWrite(t *testing.T) {
	dir := atWork(t, true)
	if _, err := databaseOf(t, dir).Exec("UPDATE nodes SET seen_at = seen_at - 600000000"); err != nil { // microseconds
		t.Fatal(err)
	}
	for want, args := range map[int][]string{exitOK: {"backup", filepath.Join(t.TempDir(), "backup")}, exitFailure: {"env", "prune", "--dry-run"}} {
		if code, _, text := run(t, append(args, "--data-dir", dir)...); code != want || !strings.Contains(text, "has not heard of the server that runs for 10m") {
			t.Errorf("%s: exit code %d: %s", args[0], code, text)
		}
	}
}

// TestEnvironmentsAreLookedAtByANewerProgram without a change of the store.
func TestEnvironmentsAreLookedAtByANewerProgram(t *testing.T) {
	dir := seeded(t, "ann")
	older(t, dir)
	settings, err := settingsOf(t, "serve", "--data-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := usersIn(t.Context(), settings, dir); err != nil {
		t.Fatal(err)
	}
	if version := schemaOf(t, dir); version != 16 {
		t.Errorf("the schema is of version %d", version)
	}
}

// TestAServerThatIsGone has left its socket's file.
func TestAServerThatIsGone(t *testing.T) {
	data := &dataDir{path: atWork(t, false)}
	if runs, err := serverRuns(data); err != nil || !runs {
		t.Fatalf("it runs: %t, %v", runs, err)
	}
	empty := &dataDir{path: t.TempDir()}
	if runs, err := serverRuns(empty); err != nil || runs {
		t.Fatalf("none runs: %t, %v", runs, err)
	}
	if err := ofRunning(t.Context(), nil, empty); err != nil {
		t.Fatal(err)
	}
	if err := neverServed(data); !errors.Is(err, errOtherStore) {
		t.Fatal(err)
	}
}
