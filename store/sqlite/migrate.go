package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"apibuilder/store/schema"
)

//go:embed migrations/*.sql
var files embed.FS

// ErrForeign says that the file is a database, but another program's.
var ErrForeign = errors.New("database is another program's")

// migrate runs what is missing, each migration in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB, all []schema.Migration) error {
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

// schemaVersion is the newest migration that was run, 0 for none.
func schemaVersion(ctx context.Context, q rower) (version int, err error) {
	err = q.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_migrations").Scan(&version)
	return version, err
}

// step runs the next migration, and reports whether none was left. The version is read inside the transaction, because
// another process may be migrating the same file.
func step(ctx context.Context, db *sql.DB, all []schema.Migration) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	m, done, err := schema.Next(version, all)
	if err != nil || done {
		return done, err
	}
	if _, err := tx.ExecContext(ctx, m.SQL); err != nil {
		return false, fmt.Errorf("run migration %s: %w", m.Name, err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)",
		m.Version, m.Name, time.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("record migration %s: %w", m.Name, err)
	}
	return false, tx.Commit()
}
