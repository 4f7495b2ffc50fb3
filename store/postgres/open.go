package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"apibuilder/store"
	"apibuilder/store/schema"
)

// oldestServer is the first PostgreSQL that has what the schema uses (xid8), as server_version_num.
const oldestServer = 130000

const connectTimeout = 5 * time.Second

// Options say where a Store is. URL is a secret and in no error or log line.
type Options struct {
	// URL is a connection string of libpq's, as URL or as keywords and values. Parameters of pgx work too: pool_max_conns, and
	// default_query_exec_mode, see config.
	URL string
	// SweepEvery is how often changes are looked for that no notification told. Default 15s.
	SweepEvery time.Duration
	// PollEvery is the same where notifications do not arrive, as through a pooler in transaction mode. Default 500ms.
	PollEvery time.Duration
	// Log is told when notifications stop and come back. Default: none.
	Log *zap.Logger
}

// Open connects, brings the schema up to date, and begins to listen for the changes of others. A database whose schema is
// newer is refused with schema.ErrNewer and left as it is. The tables are made in the first schema of the search path. The caller
// closes the Store.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := open(ctx, o, schema.Migrations(files))
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL database: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, o Options, all []schema.Migration) (*Store, error) {
	cfg, err := config(o.URL)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	schema, err := prepare(ctx, pool, all)
	if err != nil {
		pool.Close()
		return nil, unavailable(ctx, err)
	}
	s := &Store{pool: pool, now: time.Now, node: strings.TrimPrefix(store.NewID("node"), "node_")}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if err := adopt(ctx, s, o.Log); err != nil {
		pool.Close()
		return nil, unavailable(ctx, err)
	}
	if s.feed, err = newFeed(ctx, s, schema, o); err != nil {
		pool.Close()
		return nil, unavailable(ctx, err)
	}
	return s, nil
}

// OpenToRead opens a database for Dump and changes nothing: an older schema stays, so that older nodes can be started again. One without
// tables is a store.ErrEmpty. The caller closes the Store.
func OpenToRead(ctx context.Context, url string) (*Store, error) {
	cfg, err := config(url)
	var pool *pgxpool.Pool
	if err == nil {
		pool, err = pgxpool.NewWithConfig(ctx, cfg)
	}
	if err == nil {
		if err = readable(ctx, pool, schema.Migrations(files)); err != nil {
			pool.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL database: %w", unavailable(ctx, err))
	}
	return &Store{pool: pool, now: time.Now}, nil
}

// readable returns nil for a schema of this program's, or an older one.
func readable(ctx context.Context, pool *pgxpool.Pool, all []schema.Migration) error {
	if _, err := lookAtServer(ctx, pool); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, pool)
	if err == nil {
		err = schema.Readable(version, all)
	}
	if err == nil {
		err = checkSight(ctx, pool, "apibuilder_apis")
	}
	return err
}

// prepare looks at the server and migrates. It returns the schema that holds the tables.
func prepare(ctx context.Context, pool *pgxpool.Pool, all []schema.Migration) (schema string, err error) {
	if schema, err = lookAtServer(ctx, pool); err != nil {
		return "", err
	}
	if err := migrate(ctx, pool, all); err != nil {
		return "", err
	}
	return schema, checkSight(ctx, pool, "apibuilder_apis")
}

// checkSight is an error where the rows of a table would seem to be gone.
func checkSight(ctx context.Context, q rower, table string) error {
	var hidden bool
	if err := q.QueryRow(ctx, "SELECT row_security_active($1::text)", table).Scan(&hidden); err != nil {
		return err
	}
	if hidden {
		return fmt.Errorf("row security hides the tables from this user: connect as the user that owns %s", table)
	}
	return nil
}

// lookAtServer returns the schema that holds the tables, or will, where the server and the database are of use.
func lookAtServer(ctx context.Context, pool *pgxpool.Pool) (schema string, err error) {
	var server int
	err = pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::bigint, coalesce(current_schema(), '')").
		Scan(&server, &schema)
	if err == nil {
		err = checkEncoding(ctx, pool)
	}
	switch {
	case err != nil:
		return "", err
	case server < oldestServer:
		return "", fmt.Errorf("the server is PostgreSQL %d: use 13 or later", server/10000)
	case schema == "":
		return "", errors.New("the search path names no schema that exists: add ?search_path=SCHEMA to the database's URL")
	}
	return schema, nil
}

// checkEncoding refuses a database that cannot hold every text: it would refuse a request's path or a program's output one day. One in
// SQL_ASCII holds whatever bytes it is given.
func checkEncoding(ctx context.Context, q rower) error {
	var encoding string
	if err := q.QueryRow(ctx, "SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return err
	}
	if encoding == "UTF8" || encoding == "SQL_ASCII" {
		return nil
	}
	return fmt.Errorf("the database's encoding is %s, which has no place for every character: use one made by "+
		"CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'", encoding)
}

// rower is a pool or a transaction.
type rower interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// config reads a connection string. Unless it says otherwise, statements are neither prepared by name nor described in a
// round trip of their own (QueryExecModeExec): a pooler in transaction mode may give each round trip another connection, and
// pgbouncer before 1.21 and others know no prepared statements. It costs the server a parse for each statement, which no
// request waits for.
func config(url string) (*pgxpool.Config, error) {
	if strings.TrimSpace(url) == "" {
		return nil, errors.New("the database's URL is empty")
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil { // its text repeats the URL
		return nil, errors.New("the database's URL cannot be read: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with " +
			"%40 for an @ in the password and so on, and parameters like ?sslmode=require at the end")
	}
	c := cfg.ConnConfig
	if !strings.Contains(url, "default_query_exec_mode") {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "apibuilder"
	}
	c.RuntimeParams["client_encoding"] = "UTF8" // text is UTF-8 here, whatever the user's or the database's setting says
	if cfg.PingTimeout == 0 {
		cfg.PingTimeout = connectTimeout
	}
	return cfg, nil
}
