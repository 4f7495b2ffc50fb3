package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"apibuilder/store/schema"
)

const readers = 4 // connections that only read

// Open opens the database file at path, makes it (mode 0600, as its -wal and -shm files are) when it is missing, and
// brings its schema up to date. Its directory must exist. A database of a newer version, one that is not ours and a file
// that is no database are refused and left as they are. The caller closes the Store.
func Open(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := protect(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := migrate(ctx, s.writer, schema.Migrations(files)); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, neutral(err)), s.Close())
	}
	return s, nil
}

// OpenToRead opens a database for Dump and changes nothing: an older schema stays, so that the older program can go on with it. One without
// tables is a store.ErrEmpty. The caller closes the Store.
func OpenToRead(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := readable(ctx, s.reader, schema.Migrations(files)); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, neutral(err)), s.Close())
	}
	return s, nil
}

// readable returns nil for a schema of this program's, or an older one.
func readable(ctx context.Context, db *sql.DB, all []schema.Migration) error {
	there, err := hasTable(ctx, db, "schema_migrations")
	if err != nil {
		return err
	}
	version := 0
	if there {
		if version, err = schemaVersion(ctx, db); err != nil {
			return err
		}
	}
	return schema.Readable(version, all)
}

// hasTable reports whether a schema has a table.
func hasTable(ctx context.Context, q rower, table string) (there bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)", table).Scan(&there)
	return there, err
}

// rower is a database or a transaction.
type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func connect(path string) (*Store, error) {
	writer, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	reader, err := sql.Open("sqlite", dsn(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	writer.SetMaxOpenConns(1) // SQLite has one writer; waiting here is fair and honours the context
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	return &Store{writer: writer, reader: reader}, nil
}

// dsn makes every connection wait for another process's lock, and every commit survive a power loss: synchronous is FULL,
// because in WAL mode NORMAL may lose the last commits.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)"}}
	for _, p := range append([]string{
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(67108864)",
	}, pragmas...) {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// protect makes the file before SQLite can, because SQLite would follow the umask, and gives its companions its mode.
func protect(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		err := os.Chmod(name, 0o600)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
