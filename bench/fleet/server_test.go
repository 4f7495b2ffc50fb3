package fleet_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"apibuilder/internal/testenv"
)

// server is a real one, in a process of its own.
type server struct {
	binary, dir, url string
	cmd              *exec.Cmd
	log              bytes.Buffer
}

func newServer(b *testing.B) *server {
	b.Helper()
	top, err := os.MkdirTemp("", "apibuilder-fleet-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(top) })
	s := &server{binary: filepath.Join(top, "apibuilder"), dir: filepath.Join(top, "data")}
	if err := os.Chmod(top, 0o711); err != nil {
		b.Fatal(err)
	}
	testenv.Binary(b, s.binary)
	testenv.DataDir(b, s.dir)
	b.Cleanup(func() { s.stop(b) })
	return s
}

// start returns how long it took until the server said that it is ready.
func (s *server) start(b *testing.B, args ...string) time.Duration {
	b.Helper()
	s.cmd = exec.Command(s.binary, append([]string{
		"serve", "--json", "--no-example", "--listen", "127.0.0.1:0", "--data-dir", s.dir,
	}, args...)...)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatalf("the server is not ready: %s", s.log.Bytes())
	}
	took := time.Since(began)
	var ready struct{ URL string }
	if err := json.Unmarshal(lines.Bytes(), &ready); err != nil {
		b.Fatal(err)
	}
	s.url = ready.URL
	return took
}

// stop may be called again.
func (s *server) stop(b *testing.B) {
	b.Helper()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(unix.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		b.Errorf("stop the server: %v: %s", err, s.log.Bytes())
	}
	s.cmd = nil
}

// peak is the most memory that the server has had.
func (s *server) peak(b *testing.B) int64 {
	return field(b, fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid), "VmHWM:")
}

// deploy makes the API of which the others are copies.
func (s *server) deploy(b *testing.B) {
	b.Helper()
	dir := b.TempDir()
	app, list := filepath.Join(dir, "app.py"), filepath.Join(dir, "requirements.txt")
	code := hello + strings.Repeat("# a program has some length\n", 100)
	for path, text := range map[string]string{app: code, list: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.CommandContext(b.Context(), s.binary, "deploy", app, "-r", list, "--name", "first", "--public", "--data-dir", s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("deploy: %v: %s", err, out)
	}
}

func copyName(n int) string { return fmt.Sprintf("copy-%d", n) }

// copies registers so many copies of the first API, in the database of a server that is stopped. Deploying them would take
// hours, and would leave the same rows.
func (s *server) copies(b *testing.B, n int) {
	b.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "apibuilder.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for table, changed := range map[string]map[string]string{
		"apis":     {"id": "printf('api_%016d', n)", "name": "'copy-' || n"},
		"versions": {"api_id": "printf('api_%016d', n)"},
	} {
		into, from := columns(b, db, table, changed)
		_, err := db.ExecContext(b.Context(), fmt.Sprintf(`WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)
			INSERT INTO %s (%s) SELECT %s FROM numbers, %s`, n, table, into, from, table))
		if err != nil {
			b.Fatal(err)
		}
	}
}

// columns lists a table's columns, and what a copy has in each.
func columns(b *testing.B, db *sql.DB, table string, changed map[string]string) (into, from string) {
	b.Helper()
	rows, err := db.QueryContext(b.Context(), "SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var names, values []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.Fatal(err)
		}
		value := name
		if other, ok := changed[name]; ok {
			value = other
		}
		names, values = append(names, name), append(values, value)
	}
	if rows.Err() != nil || !slices.Contains(names, "name") && !slices.Contains(names, "api_id") {
		b.Fatalf("the columns of %s: %v, %v", table, names, rows.Err())
	}
	return strings.Join(names, ", "), strings.Join(values, ", ")
}
