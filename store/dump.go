package store

import (
	"context"
	"errors"
	"fmt"
)

// Tables are what a backup carries, in the order in which they refer to one another. Their names and columns are the same for
// every driver; a driver's test fails when its schema has one that is missing here.
var Tables = []string{
	"plans", "users", "apis", "bundles", "versions", "keys", "key_uses", "tokens", "exits", "usage", "usage_hours", "usage_days", "usage_totals", "usage_routes",
	"egress_hours", "egress_days", "egress_sources", "audit",
}

// Cells are one row of a table by column: int64, float64, string, []byte, bool or nil. A bool may come back as 0 or 1.
type Cells map[string]any

// Dumper reads a whole store as it was at one moment, while others write.
type Dumper interface {
	// Dump calls row for every row of Tables, table by table, until it returns an error. A table of a newer schema has no rows in an older one.
	Dump(ctx context.Context, row func(table string, c Cells) error) error
}

// Loader fills a store.
type Loader interface {
	// Load replaces all that the store holds by what next returns until it returns io.EOF, whole or not at all. Without force a
	// store that holds anything is left alone: ErrConflict. A column that the schema does not know is an ErrInvalid.
	Load(ctx context.Context, force bool, next func() (table string, c Cells, err error)) error
}

// ErrEmpty says that a database has no tables yet, so that there is nothing to read.
var ErrEmpty = errors.New("there is nothing of this program in the database: start a server with it once, or name another")

// UnknownColumn is the error of a Loader for a column of a newer schema.
func UnknownColumn(table, column string) error {
	return fmt.Errorf("%w: the backup has %s.%s, which this version does not know: restore it with the version that made it", ErrInvalid,
		table, column)
}

// EmptyRow is the error of a Loader for a row that has no column.
func EmptyRow(table string) error {
	return fmt.Errorf("%w: the backup has a row of %s with no column: it was changed", ErrInvalid, table)
}
