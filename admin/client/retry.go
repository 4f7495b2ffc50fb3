package client

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"syscall"
	"time"

	"apibuilder/admin"
)

// A request whose connection broke is sent again; while the server still works on the first one, it is asked every so often.
const busyWait = 500 * time.Millisecond

// retry calls send, for a POST with an idempotency key, and once more when the connection broke.
func retry(ctx context.Context, method string, send func(key string) error) error {
	if method != http.MethodPost {
		return send("")
	}
	key := rand.Text() // 128 random bits or more
	err := send(key)
	if !broken(err) || ctx.Err() != nil {
		return err
	}
	for {
		err = send(key)
		problem, ok := errors.AsType[*admin.Problem](err)
		if !ok || problem.Type != "request_in_progress" {
			return err
		}
		if err := pause(ctx, busyWait); err != nil {
			return err
		}
	}
}

// broken reports whether a connection ended before the answer did.
func broken(err error) bool {
	for _, one := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}
