// Package postgres is the store.Store in a PostgreSQL database that several nodes and other programs may share. Its tables
// are those of migrations; all of their names begin with apibuilder_, so that it can live beside what is there already.
//
// Every change is told to the subscribers of this process before the method that made it returns. What other nodes or
// programs change comes by NOTIFY, and by a sweep over the table of changes: see feed.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"apibuilder/store"
)

type change = store.Change

const (
	commitTimeout     = 10 * time.Second // for the answer to a COMMIT whose caller has gone
	commitTimeoutMost = 10 * time.Minute
	writeAttempts     = 4 // of a transaction that deadlocks
)

// Store implements store.Store. Make one with Open. Errors of a database that cannot be reached wrap
// store.ErrUnavailable.
type Store struct {
	pool *pgxpool.Pool
	node string // names this store's own changes
	feed *feed
	rows *Rows            // nil: there are none
	now  func() time.Time // this machine's clock

	gate   sync.RWMutex // read-held by every call, so that Close waits for them
	closed bool

	subscribers store.Subscribers
	unsure      atomic.Bool // the answer to a commit was lost
}

var _ store.Store = (*Store)(nil)

// Close waits for calls under way and ends all connections. Calls after it return an error that wraps os.ErrClosed; closing
// again does nothing.
func (s *Store) Close() error {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.feed != nil { // there is none of OpenToRead's
		s.feed.stop()
	}
	s.pool.Close()
	return nil
}

// Ping asks for one row.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, func() error {
		var one int
		return s.pool.QueryRow(ctx, "SELECT 1").Scan(&one)
	})
}

// Subscribe is as in store.Store. Calls come from the goroutine that committed, before its method returns, or from the one
// that hears of others' changes; after cancel has returned fn is not running and will not be called, so fn must not call
// cancel.
func (s *Store) Subscribe(fn func(store.Change)) (cancel func()) { return s.subscribers.Subscribe(fn) }

// read runs fn unless the store is closed.
func (s *Store) read(ctx context.Context, fn func() error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return fmt.Errorf("read database: %w", os.ErrClosed)
	}
	return unavailable(ctx, fn())
}

// unit is one transaction and what it changes.
type unit struct {
	pgx.Tx
	changes []change
}

func (u *unit) changed(apiID string) { u.changes = append(u.changes, change{APIID: apiID}) }

// write runs fn in a transaction and tells the subscribers once it is committed. fn runs again, from the beginning, where PostgreSQL ended the
// transaction because others were in its way.
func (s *Store) write(ctx context.Context, fn func(*unit) error) error {
	return s.writeUpTo(ctx, writeAttempts, fn)
}

func (s *Store) writeUpTo(ctx context.Context, attempts int, fn func(*unit) error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return fmt.Errorf("write database: %w", os.ErrClosed)
	}
	for ; ; attempts-- {
		err := s.transact(ctx, fn)
		if code := codeOf(err); code != deadlock && code != serializationFailure || attempts <= 1 {
			return unavailable(ctx, err)
		}
	}
}

func (s *Store) transact(ctx context.Context, fn func(*unit) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // does nothing after the commit
	// For this transaction alone, so that it works through a pooler too: the trigger says whose change it is.
	if _, err := tx.Exec(ctx, "SELECT set_config('apibuilder.node', $1, true)", s.node); err != nil {
		return err
	}
	u := &unit{Tx: tx}
	if err := fn(u); err != nil {
		return err
	}
	return s.commit(ctx, u)
}

// commit commits and tells the subscribers. Where ctx ends meanwhile the answer is waited for nevertheless: the database may have committed,
// and whoever remembers a key that is revoked must hear of it. Without an answer nobody knows: forgetting too much does no harm, and because
// the database may commit later still, own changes are from then on told like those of others.
func (s *Store) commit(ctx context.Context, u *unit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeoutMost)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(commitTimeout, cancel) })()
	err := u.Commit(wait)
	if errors.Is(err, pgx.ErrTxCommitRollback) || codeOf(err) != "" && !isUnavailable(err) {
		return err // it says that it did not
	}
	if err != nil {
		s.unsure.Store(true)
	}
	s.subscribers.Publish(u.changes)
	return err
}

// told reports whether the changes of a node were told by the method that made them: those of this one, unless the answer to a commit was lost.
func (s *Store) told(node string) bool { return node == s.node && !s.unsure.Load() }

// unhurried lifts the limit of time that a user's statements may have, for a transaction with some that last as long as there are rows.
func unhurried(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', '0', true)")
	return err
}

var noTime time.Time

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// micros is what a column holds of a time, NULL for the zero time.
func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func fromMicros(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.UnixMicro(*n).UTC()
}

// storable reports whether a text can be in the database at all; asking for one that cannot is an error of PostgreSQL's.
func storable(s string) bool { return store.CleanText(s) == s }

// queryer is a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// list returns all rows of a query, never nil.
func list[T any](ctx context.Context, q queryer, scan func(pgx.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
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

// first returns the first row of a query, or pgx.ErrNoRows.
func first[T any](ctx context.Context, q queryer, scan func(pgx.Rows) (T, error), query string, args ...any) (T, error) {
	var none T
	all, err := list(ctx, q, scan, query, args...)
	if err != nil {
		return none, err
	}
	if len(all) == 0 {
		return none, pgx.ErrNoRows
	}
	return all[0], nil
}

// must turns "no row was hit" into pgx.ErrNoRows.
func must(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return pgx.ErrNoRows
	}
	return err
}
