package postgres

import (
	"context"
	"embed"
	"fmt"
	"time"

	"apibuilder/store/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var files embed.FS

// A migration waits so long, so often, for transactions that use a table: while it waits, everybody else waits behind it.
const (
	migrationLockTimeout = 2 * time.Second
	migrationAttempts    = 15
)

// migrate runs what is missing, each migration in a transaction of its own.
func migrate(ctx context.Context, pool *pgxpool.Pool, all []schema.Migration) error {
	for attempt := 1; ; {
		done, err := step(ctx, pool, all)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			attempt = 1
		case codeOf(err) == insufficientRights:
			return fmt.Errorf("%w: let the user create tables (GRANT CREATE ON SCHEMA ...), or connect as one that may", err)
		case codeOf(err) != lockNotAvailable && codeOf(err) != deadlock || attempt == migrationAttempts:
			return err
		default:
			attempt++
		}
	}
}

// step runs the next migration, and reports whether none was left. Nodes that start at once wait for one another: the lock
// is the transaction's, because a pooler may not keep the session.
func step(ctx context.Context, pool *pgxpool.Pool, all []schema.Migration) (done bool, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := unhurried(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('apibuilder migrations of ' || current_schema(), 0))")
		if err != nil {
			return err
		}
		version, err := schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		// It writes only where something is missing: a user that may not create tables can serve.
		var next schema.Migration
		if next, done, err = schema.Next(version, all); err != nil || done {
			return err
		}
		if version == 0 {
			if err := makeTable(ctx, tx); err != nil {
				return fmt.Errorf("make the table of migrations: %w", err)
			}
		}
		return run(ctx, tx, next)
	})
	return done, err
}

// schemaVersion is 0 where nothing of ours is. Where row security hides what there is, that is an error.
func schemaVersion(ctx context.Context, tx rower) (version int, err error) {
	var there bool
	err = tx.QueryRow(ctx, "SELECT to_regclass(quote_ident(current_schema()) || '.apibuilder_schema_migrations') IS NOT NULL").
		Scan(&there)
	if err == nil && there {
		err = checkSight(ctx, tx, "apibuilder_schema_migrations")
	}
	if err == nil && there {
		err = tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM apibuilder_schema_migrations").Scan(&version)
	}
	return version, err
}

// makeTable makes the table of migrations. Row security is on from the beginning, as of all our tables: where a hosted database gives every
// new table to browsers, whoever writes here keeps all nodes from starting.
func makeTable(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS apibuilder_schema_migrations (
			version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
		ALTER TABLE apibuilder_schema_migrations ENABLE ROW LEVEL SECURITY`, pgx.QueryExecModeSimpleProtocol)
	return err
}

func run(ctx context.Context, tx pgx.Tx, m schema.Migration) error {
	if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", migrationLockTimeout.String()); err != nil {
		return fmt.Errorf("set the limit of waiting: %w", err)
	}
	// Without arguments pgx sends a text of several statements in one simple query.
	if _, err := tx.Exec(ctx, m.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("run migration %s: %w", m.Name, err)
	}
	_, err := tx.Exec(ctx, "INSERT INTO apibuilder_schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)",
		m.Version, m.Name, time.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("record migration %s: %w", m.Name, err)
	}
	return nil
}
