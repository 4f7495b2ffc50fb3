package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"apibuilder/store"
)

// Codes of PostgreSQL that we tell apart: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	uniqueViolation      = "23505"
	foreignKeyViolation  = "23503"
	insufficientRights   = "42501"
	lockNotAvailable     = "55P03"
	deadlock             = "40P01"
	serializationFailure = "40001"
	readOnly             = "25006"
	duplicateObject      = "42710"
)

// neutral adds the store's error to one of the library's; others are returned as they are.
func neutral(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNotFound
	}
	switch codeOf(err) {
	case uniqueViolation:
		return store.ErrConflict
	case foreignKeyViolation:
		return store.ErrNotFound
	}
	return err
}

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// about says what was asked for: kind and the id or name that was given.
func about(kind, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", kind, id, neutral(err))
}

// unavailable adds store.ErrUnavailable to an error that says that the database cannot be reached or does not take
// commands. What the caller's own context did is left as it is.
func unavailable(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrUnavailable) || !isUnavailable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, oneLine{err})
}

func isUnavailable(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	if code := codeOf(err); code != "" {
		// Connection exceptions, "operator intervention": the server stops, starts or crashed, and "insufficient resources": it has no
		// connection, memory or room on its disk left. A standby, and a primary that was made one, only reads.
		return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "53") || code == readOnly
	}
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || pgconn.Timeout(err)
}

// oneLine is an error whose text fits into a log line; pgx lists every address it tried on a line of its own.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }
