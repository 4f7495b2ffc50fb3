package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var files embed.FS

// ErrNewer says that the database was written by a newer version of this program.
var ErrNewer = errors.New("database is newer than this program")

// A migration waits so long, so often, for transactions that use a table: while it waits, everybody else waits behind it.
const (
	migrationLockTimeout = 2 * time.Second
	migrationAttempts    = 15
)

// migration is one step of the schema. A released one is never changed, and each only adds, so that older nodes go on.
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
func migrate(ctx context.Context, pool *pgxpool.Pool, all []migration) error {
	for attempt := 1; ; {
		done, err := step(ctx, pool, all)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			attempt = 1
		case codeOf(err) == insufficientRights:
			return fmt.Errorf("%w: let the user create tables (GRANT CREATE ON SCHEMA ...), or connect as one that may", err)
		case codeOf(err) != lockNotAvailable || attempt == migrationAttempts:
			return err
		default:
			attempt++
		}
	}
}

// step runs the next migration, and reports whether none was left. Nodes that start at once wait for one another: the lock
// is the transaction's, because a pooler may not keep the session.
func step(ctx context.Context, pool *pgxpool.Pool, all []migration) (done bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('apibuilder migrations of ' || current_schema(), 0))")
		if err != nil {
			return err
		}
		if done, err = newest(ctx, tx, all); err != nil || done {
			return err
		}
		return runNext(ctx, tx, all)
	})
	return done, err
}

// newest reports whether the schema is up to date. It reads only where it is: a user that may not create tables can serve.
func newest(ctx context.Context, tx pgx.Tx, all []migration) (bool, error) {
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	if version > len(all) {
		return false, fmt.Errorf("%w: its schema has version %d, this program knows %d; run the newer program, or restore "+
			"the backup from before the upgrade", ErrNewer, version, len(all))
	}
	return version == len(all), nil
}

// schemaVersion is 0 where nothing of ours is.
func schemaVersion(ctx context.Context, tx pgx.Tx) (version int, err error) {
	var there bool
	err = tx.QueryRow(ctx, "SELECT to_regclass(quote_ident(current_schema()) || '.apibuilder_schema_migrations') IS NOT NULL").
		Scan(&there)
	if err == nil && there {
		err = tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM apibuilder_schema_migrations").Scan(&version)
	}
	return version, err
}

func runNext(ctx context.Context, tx pgx.Tx, all []migration) error {
	_, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", migrationLockTimeout.String())
	if err == nil {
		_, err = tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS apibuilder_schema_migrations (
			version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
	}
	if err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	m := all[version]
	// Without arguments pgx sends a text of several statements in one simple query.
	if _, err := tx.Exec(ctx, m.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("run migration %s: %w", m.name, err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO apibuilder_schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)",
		m.version, m.name, time.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("record migration %s: %w", m.name, err)
	}
	return nil
}
