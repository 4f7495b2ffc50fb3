package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var files embed.FS

// ErrNewer says that the database was written by a newer version of this program.
var ErrNewer = errors.New("database is newer than this program")

// ErrForeign says that the file is a database, but another program's.
var ErrForeign = errors.New("database is another program's")

// migration is one step of the schema. A released one is never changed.
type migration struct {
	version int
	name    string
	sql     string
}

// embedded returns the migrations that the binary carries, oldest first. It panics when a file's name is not its number
// and a word, which a test rules out.
func embedded() []migration {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		panic(err)
	}
	var all []migration
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(all)+1 {
			panic(fmt.Sprintf("migration %s: want number %d", path, len(all)+1))
		}
		text, err := files.ReadFile(path)
		if err != nil {
			panic(err)
		}
		all = append(all, migration{version, name, string(text)})
	}
	return all
}

// migrate runs what is missing, each migration in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB, all []migration) error {
	if err := recognise(ctx, db); err != nil {
		return err
	}
	for {
		done, err := step(ctx, db, all)
		if err != nil || done {
			return err
		}
	}
}

// recognise makes the table of migrations in an empty database, and refuses one that has other tables but not this one.
func recognise(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	var tables, ours int
	err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(name = 'schema_migrations'), 0) FROM sqlite_schema
		WHERE type = 'table'`).Scan(&tables, &ours)
	if err != nil {
		return err
	}
	if tables > 0 && ours == 0 {
		return fmt.Errorf("%w: it has %d tables and no schema_migrations; give another path", ErrForeign, tables)
	}
	_, err = tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT`)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// step runs the next migration, and reports whether none was left. The version is read inside the transaction, because
// another process may be migrating the same file.
func step(ctx context.Context, db *sql.DB, all []migration) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	var version int
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_migrations").Scan(&version)
	if err != nil {
		return false, err
	}
	if version > len(all) {
		return false, fmt.Errorf("%w: its schema has version %d, this program knows %d; run the newer program, or restore "+
			"the backup from before the upgrade", ErrNewer, version, len(all))
	}
	if version == len(all) {
		return true, nil
	}
	m := all[version]
	if _, err := tx.ExecContext(ctx, m.sql); err != nil {
		return false, fmt.Errorf("run migration %s: %w", m.name, err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)",
		m.version, m.name, time.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("record migration %s: %w", m.name, err)
	}
	return false, tx.Commit()
}
