package sqlite

import (
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"apibuilder/store"
)

// neutral adds the store's error to one of the library's; others are returned as they are.
func neutral(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY, codes.SQLITE_CONSTRAINT_ROWID:
		return store.ErrConflict
	case codes.SQLITE_CONSTRAINT_FOREIGNKEY:
		return store.ErrNotFound
	case codes.SQLITE_NOTADB:
		return fmt.Errorf("the file is not a SQLite database; move it away or restore a backup: %w", err)
	}
	return err
}

// about says what was asked for: kind and the id or name that was given.
func about(kind, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", kind, id, neutral(err))
}

// unwritable adds store.ErrUnavailable to an error of a write that the disk did not take, or that another process did not let through for
// all of the busy timeout.
func unwritable(err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // https://www.sqlite.org/rescode.html: the rest says where
	case codes.SQLITE_FULL, codes.SQLITE_READONLY, codes.SQLITE_IOERR, codes.SQLITE_CANTOPEN, codes.SQLITE_BUSY:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}
