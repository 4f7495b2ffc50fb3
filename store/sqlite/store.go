// Package sqlite is the store.Store in one SQLite file, for one node. One connection writes and a few read, in WAL mode,
// so that reading never waits for writing; every commit is on disk when its method returns. The schema is in migrations.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"apibuilder/store"
)

type change = store.Change

// Store implements store.Store. Make one with Open.
type Store struct {
	writer, reader *sql.DB

	gate   sync.RWMutex // read-held by every call, so that Close waits for them
	closed bool

	subscribers store.Subscribers
	statements  statements

	usageLock sync.Mutex // held while records are added
	seen      seen
}

var _ store.Store = (*Store)(nil)

// Close waits for calls under way, moves the WAL into the database file and closes it. Calls after it return an error
// that wraps os.ErrClosed; closing again does nothing.
func (s *Store) Close() error {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := errors.Join(s.reader.Close(), s.writer.Close()); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Ping reads one row.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(func() error {
		var version int
		return s.reader.QueryRowContext(ctx, "SELECT max(version) FROM schema_migrations").Scan(&version)
	})
}

// Subscribe is as in store.Store. Calls come from the goroutine that committed, before its method returns; after cancel
// has returned fn is not running and will not be called, so fn must not call cancel.
func (s *Store) Subscribe(fn func(store.Change)) (cancel func()) { return s.subscribers.Subscribe(fn) }

// Refresh tells subscribers that anything may have changed: another process, whose changes nobody tells of, wrote to the file.
func (s *Store) Refresh() { s.subscribers.Publish([]change{{}}) }

// read runs fn unless the store is closed.
func (s *Store) read(fn func() error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return fmt.Errorf("read database: %w", os.ErrClosed)
	}
	return fn()
}

// unit is one transaction and what it changes.
type unit struct {
	*sql.Tx
	statements *statements
	changes    []change
}

// run runs a statement that was prepared, and returns how many rows it has written. A context that ended before is noticed; one that
// ends meanwhile by the next statement, because for each statement that can be interrupted the driver starts a goroutine and has SQLite
// ask it, which costs a seventh of a batch of usage records. A statement here is some rows, and the lock is held already.
func (u *unit) run(ctx context.Context, text string, args ...any) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx)
	result, err := u.statements.in(ctx, u.Tx, text).ExecContext(ctx, args...) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row runs a statement that was prepared and gives one row, with the contexts of run.
func (u *unit) row(ctx context.Context, text string, args ...any) *sql.Row {
	return u.statements.in(ctx, u.Tx, text).QueryRowContext(context.WithoutCancel(ctx), args...) //nolint:sqlclosecheck // it ends with the transaction
}

func (u *unit) changed(apiID string) { u.changes = append(u.changes, change{APIID: apiID}) }

// write runs fn in a transaction and tells the subscribers once it is committed.
func (s *Store) write(ctx context.Context, fn func(*unit) error) (err error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return fmt.Errorf("write database: %w", os.ErrClosed)
	}
	defer func() { err = unwritable(err) }()
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	u := &unit{Tx: tx, statements: &s.statements}
	if err := fn(u); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.subscribers.Publish(u.changes)
	return nil
}

var noTime time.Time

// micros is what a column holds of a time, NULL for the zero time.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func fromMicros(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list returns all rows of a query, never nil.
func list[T any](ctx context.Context, q queryer, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// first returns the first row of a query, or sql.ErrNoRows.
func first[T any](ctx context.Context, q queryer, scan func(*sql.Rows) (T, error), query string, args ...any) (T, error) {
	var none T
	all, err := list(ctx, q, scan, query, args...)
	if err != nil {
		return none, err
	}
	if len(all) == 0 {
		return none, sql.ErrNoRows
	}
	return all[0], nil
}

// must turns "no row was hit" into sql.ErrNoRows.
func must(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return sql.ErrNoRows
	}
	return err
}
