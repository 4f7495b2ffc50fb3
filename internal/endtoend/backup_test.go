package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"apibuilder/internal/pgtest"
)

// TestABackupMovesAServer takes one under load from SQLite, restores it into PostgreSQL, and serves from there.
func TestABackupMovesAServer(t *testing.T) {
	dir := dataDir(t)
	s := serve(t, dir, "--no-example")
	d := s.deploy("known", hello, "")
	var l load
	l.begin(t, d, 2)
	l.reaches(t, 200)
	file := filepath.Join(t.TempDir(), "backup")
	if out, err := s.command("backup", file); err != nil || !strings.Contains(out, "rows in") {
		t.Fatalf("%s %v", out, err)
	}
	close(l.stop)
	l.wait.Wait()
	if l.failed.Load() > 0 {
		t.Errorf("%d requests failed during the backup: %s", l.failed.Load(), l.first)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := s.command("backup", file); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a backup was overwritten: %v", err)
	}
	if _, err := s.command("restore", file); err == nil || !strings.Contains(err.Error(), "another server uses") {
		t.Errorf("restored under a server: %v", err)
	}
	s.stop()
	if _, err := s.command("restore", file); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("restored over what is there: %v", err)
	}
	if out, err := s.command("restore", file, "--force"); err != nil || !strings.Contains(out, "are restored") {
		t.Errorf("%s %v", out, err)
	}

	url := pgtest.Database(t)
	dataDir(t) // another machine
	t.Setenv("APIBUILDER_DATABASE_URL", url)
	if out, err := s.command("restore", file); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	s = serve(t, dir, "--no-example")
	d.URL = s.url + "/run/" + d.ID
	d.get(t, "/")                                 // by the old key
	if _, err := s.command("usage"); err != nil { // delivers what was in the journal
		t.Error(err)
	}
	if n := count(t, url, "SELECT count(*) FROM apibuilder_usage WHERE api_id = $1", d.ID); n < 200 {
		t.Errorf("%d records of 200 and more", n)
	}
	if _, err := s.command("backup", file+"2"); err != nil {
		t.Error(err)
	}
	elsewhere := &server{t: t, dataDir: t.TempDir()}
	if _, err := elsewhere.command("restore", file, "--force"); err == nil || !strings.Contains(err.Error(), "uses the database") {
		t.Errorf("restored under a server of another data directory: %v", err)
	}
}
