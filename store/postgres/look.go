package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"apibuilder/store/schema"
)

// Outlook is what Open would find of a database.
type Outlook struct {
	Server        string // its version: "16.4"
	Schema        string // that holds the tables, or will
	Version       int    // of the tables; 0: there are none
	Newest        int    // that Open makes of them
	Notifications bool   // arrive; else changes by others are looked for, as through a pooler in transaction mode
}

// Look asks a database what Open would find, and changes nothing. Its errors are those with which Open would fail, as far as that
// can be known before.
func Look(ctx context.Context, url string) (Outlook, error) {
	o, err := look(ctx, url)
	if err != nil {
		return Outlook{}, unavailable(ctx, err)
	}
	return o, nil
}

func look(ctx context.Context, url string) (o Outlook, err error) {
	cfg, err := config(url)
	if err != nil {
		return o, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	if o.Schema, err = lookAtServer(ctx, pool); err != nil {
		return o, err
	}
	var onlyReads, creates bool
	err = pool.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('transaction_read_only')::bool, "+
		"has_schema_privilege(current_schema(), 'CREATE')").Scan(&o.Server, &onlyReads, &creates)
	if err == nil {
		o.Version, err = schemaVersion(ctx, pool)
	}
	if err != nil {
		return o, err
	}
	all := schema.Migrations(files)
	o.Newest = schema.Newest(all)
	_, upToDate, err := schema.Next(o.Version, all)
	switch {
	case err != nil:
		return o, err
	case onlyReads:
		return o, errors.New("the server takes no changes: name the primary, not a standby")
	case !upToDate && !creates:
		return o, fmt.Errorf("the user may not create tables in the schema %s: GRANT CREATE ON SCHEMA %s TO it, or connect as one that may",
			o.Schema, pgx.Identifier{o.Schema}.Sanitize())
	case o.Version > 0:
		if err := checkSight(ctx, pool, "apibuilder_apis"); err != nil {
			return o, err
		}
	}
	o.Notifications, err = notifies(ctx, pool)
	return o, err
}

// notifies reports whether notifications arrive.
func notifies(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return false, err
	}
	f := &feed{store: &Store{pool: pool}, log: zap.NewNop()}
	err = f.listenOn(ctx, conn)
	if errors.Is(err, errDeaf) {
		return false, closeConn(ctx, conn)
	}
	return err == nil, errors.Join(err, closeConn(ctx, conn))
}
