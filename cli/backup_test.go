package cli

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
	"apibuilder/store/sealed"
	"apibuilder/store/sqlite"
)

// seeded is a data directory whose store has a user of that name.
func seeded(t *testing.T, user string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if _, err := sealed.NewKeyFile(filepath.Join(dir, "secrets.key")); err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.CreateUser(t.Context(), store.User{ID: "user_" + user, Name: user, Plan: store.DefaultPlan}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// databaseOf opens the file of a data directory.
func databaseOf(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// older takes a database back to the schema of version 16.
func older(t *testing.T, dir string) {
	t.Helper()
	if _, err := databaseOf(t, dir).Exec("ALTER TABLE nodes DROP COLUMN keys; DELETE FROM schema_migrations WHERE version >= 17"); err != nil {
		t.Fatal(err)
	}
}

func schemaOf(t *testing.T, dir string) (version int) {
	t.Helper()
	if err := databaseOf(t, dir).QueryRow("SELECT max(version) FROM schema_migrations").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

// TestABackupByANewerProgram leaves the database as an older one needs it.
func TestABackupByANewerProgram(t *testing.T) {
	dir := seeded(t, "ann")
	older(t, dir)
	var out, problems bytes.Buffer
	if code := Run(t.Context(), []string{"apibuilder", "backup", filepath.Join(t.TempDir(), "backup"), "--data-dir", dir}, strings.NewReader(""), &out, &problems); code != exitOK {
		t.Fatal(problems.String())
	}
	if version := schemaOf(t, dir); version != 16 {
		t.Errorf("the schema is of version %d", version)
	}
}

// TestARestoreThatCannotBringTheKeyChangesNothing: the store was replaced already when the key file turned out to be unusable.
func TestARestoreThatCannotBringTheKeyChangesNothing(t *testing.T) {
	from, to := seeded(t, "theirs"), seeded(t, "ours")
	run := func(args ...string) (int, string) {
		var out, problems bytes.Buffer
		code := Run(t.Context(), append([]string{"apibuilder"}, args...), strings.NewReader(""), &out, &problems)
		return code, problems.String()
	}
	file := filepath.Join(t.TempDir(), "backup")
	if code, text := run("backup", file, "--with-key", "--data-dir", from); code != exitOK {
		t.Fatal(text)
	}
	if err := os.Chmod(filepath.Join(to, "secrets.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := run("restore", file, "--force", "--data-dir", to); code != exitFailure || !strings.Contains(text, "chmod 600") {
		t.Fatalf("exit code %d: %s", code, text)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(to, "apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.User(t.Context(), "ours")
	st.Close()
	if err != nil {
		t.Errorf("what was there: %v", err)
	}
	if err := os.Chmod(filepath.Join(to, "secrets.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := run("restore", file, "--force", "--data-dir", to); code != exitOK {
		t.Error(text)
	}
	if raw, err := os.ReadFile(filepath.Join(to, "secrets.key")); err != nil || strings.Count(string(raw), "AGE-SECRET-KEY") != 2 {
		t.Errorf("%v: keys are missing", err)
	}
}

// TestAForcedRestoreDropsTheJournal: usage that waits there is of the store that is replaced.
func TestAForcedRestoreDropsTheJournal(t *testing.T) {
	from, to := seeded(t, "theirs"), seeded(t, "ours")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := &dataDir{path: to}
	write(filepath.Join(from, "usage/usage-00000001.log"), "theirs\n\x00\x00") // zeros are room for more
	for _, s := range []seat{0, 1} {
		write(filepath.Join(data.join(s.journal()), "usage-00000007.log"), "ours\n")
	}
	run := func(args ...string) {
		t.Helper()
		var out, problems bytes.Buffer
		if code := Run(t.Context(), append([]string{"apibuilder"}, args...), strings.NewReader(""), &out, &problems); code != exitOK {
			t.Fatal(problems.String())
		}
	}
	file := filepath.Join(t.TempDir(), "backup")
	run("backup", file, "--data-dir", from)
	run("restore", file, "--force", "--data-dir", to)
	files, err := readJournal(data)
	if err != nil || len(files) != 1 || string(files[0].Data) != "theirs\n" {
		t.Errorf("what waits in the journal: %+v, %v", files, err)
	}
}

func TestNoRestoreUnderOtherNodes(t *testing.T) {
	data := &dataDir{path: seeded(t, "ours")}
	st, err := sqlite.Open(t.Context(), data.join("apibuilder.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	check := func(want string) {
		t.Helper()
		err := noOtherNode(t.Context(), data, st.Nodes)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("")
	own, err := os.ReadFile(data.join("node"))
	if err != nil {
		t.Fatal(err)
	}
	beat := func(id, name string) {
		t.Helper()
		if err := st.BeatNode(t.Context(), store.Node{ID: id, Name: name, Version: "1", StartedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	beat(strings.TrimSpace(string(own)), "mine") // it was killed: the data directory is locked
	check("")
	beat("node_other", "second")
	check("the server second uses the database")
	if err := st.RemoveNode(t.Context(), "node_other"); err != nil {
		t.Fatal(err)
	}
	check("")
}

// loader is a store.Loader that has checked and emptied a store.
type loader struct{ next int }

func (l *loader) Load(_ context.Context, _ bool, next func() (string, store.Cells, error)) error {
	for {
		if _, _, err := next(); err != nil {
			return err
		}
		l.next++
	}
}

// TestARestoreLooksOnceMore when nobody can begin any more.
func TestARestoreLooksOnceMore(t *testing.T) {
	began, looks := errors.New("a server has started"), 0
	next := func() (string, store.Cells, error) { return "", nil, io.EOF }
	check := func() error {
		looks++
		return began
	}
	if err := (checkedLoader{&loader{}, check}).Load(t.Context(), false, next); !errors.Is(err, began) || looks != 1 {
		t.Errorf("%v after %d looks", err, looks)
	}
	began, looks = nil, 0
	l, rows := &loader{}, 3
	err := checkedLoader{l, check}.Load(t.Context(), false, func() (string, store.Cells, error) {
		if rows--; rows < 0 {
			return "", nil, io.EOF
		}
		return "usage", nil, nil
	})
	if !errors.Is(err, io.EOF) || l.next != 3 || looks != 1 {
		t.Errorf("%v, %d rows, %d looks", err, l.next, looks)
	}
}

// TestARestoreOntoAFullDiskChangesNothing: the store was replaced already when the usage that waits did not fit.
func TestARestoreOntoAFullDiskChangesNothing(t *testing.T) {
	from, to := seeded(t, "theirs"), seeded(t, "ours")
	if err := os.Mkdir(filepath.Join(from, "usage"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "usage/usage-00000001.log"), []byte("theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var out, problems bytes.Buffer
		code := Run(t.Context(), append([]string{"apibuilder"}, args...), strings.NewReader(""), &out, &problems)
		return code, problems.String()
	}
	file := filepath.Join(t.TempDir(), "backup")
	if code, text := run("backup", file, "--data-dir", from); code != exitOK {
		t.Fatal(text)
	}
	// No directory can be made there, as on a disk that is full.
	if err := os.WriteFile(filepath.Join(to, "usage"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := run("restore", file, "--force", "--data-dir", to); code != exitFailure || !strings.Contains(text, "restore the usage journal") {
		t.Fatalf("exit code %d: %s", code, text)
	}
	var users int
	if err := databaseOf(t, to).QueryRow("SELECT count(*) FROM users WHERE name = 'ours'").Scan(&users); err != nil || users != 1 {
		t.Errorf("%d of what was there, %v", users, err)
	}
	if err := os.Remove(filepath.Join(to, "usage")); err != nil {
		t.Fatal(err)
	}
	if code, text := run("restore", file, "--force", "--data-dir", to); code != exitOK {
		t.Fatal(text)
	}
	names, err := filepath.Glob(filepath.Join(to, "usage/*"))
	if err != nil || len(names) != 1 || filepath.Base(names[0]) != "usage-00000001.log" {
		t.Errorf("the journal is %q, %v", names, err)
	}
}
