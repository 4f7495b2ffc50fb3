package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"apibuilder/store"
)

// Dump is as in store.Dumper: a transaction that sees one moment, which in WAL mode holds no writer up.
func (s *Store) Dump(ctx context.Context, row func(string, store.Cells) error) error {
	return s.read(func() error {
		tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		for _, table := range store.Tables {
			err := dumpTable(ctx, tx, table, row)
			if err == nil && table == "usage" {
				err = dumpBlocks(ctx, tx, row)
			}
			if err != nil {
				return fmt.Errorf("read table %s: %w", table, err)
			}
		}
		return nil
	})
}

func dumpTable(ctx context.Context, tx *sql.Tx, table string, row func(string, store.Cells) error) error {
	if there, err := hasTable(ctx, tx, table); err != nil || !there {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		c := store.Cells{}
		for i, column := range columns {
			c[column] = values[i]
		}
		if table == "usage" {
			delete(c, "seq") // the place among all records, which those of blocks do not have
		}
		if err := row(table, c); err != nil {
			return err
		}
	}
	return rows.Err()
}

// dumpBlocks gives the records of blocks as rows of the table usage, which every driver has.
func dumpBlocks(ctx context.Context, tx *sql.Tx, row func(string, store.Cells) error) error {
	if there, err := hasTable(ctx, tx, "usage_blocks"); err != nil || !there {
		return err
	}
	return eachBlock(ctx, tx, `SELECT seq, last, data FROM usage_blocks ORDER BY seq`, nil, func(b storedBlock) (bool, error) {
		records, err := b.read()
		if err != nil {
			return false, err
		}
		for i := range records {
			if err := row("usage", usageCells(&records[i])); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// usageCells are the columns of usageColumns.
func usageCells(r *store.Usage) store.Cells {
	return store.Cells{
		"id": r.ID, "api_id": r.APIID, "version": int64(r.Version), "key_id": r.KeyID, "time": r.Time.UnixMicro(), "method": r.Method,
		"path": r.Path, "route": r.Route, "node": r.Node, "status": int64(r.Status), "error": r.Error, "bytes_in": r.BytesIn, "bytes_out": r.BytesOut,
		"duration_us": r.Duration.Microseconds(), "start_wait_us": r.StartWait.Microseconds(), "cpu_us": r.CPU.Microseconds(),
	}
}

// Load is as in store.Loader.
func (s *Store) Load(ctx context.Context, force bool, next func() (string, store.Cells, error)) error {
	s.usageLock.Lock()
	defer s.usageLock.Unlock()
	s.seen = seen{}
	return s.write(ctx, func(u *unit) error {
		u.changed("")
		if err := empty(ctx, u, force); err != nil {
			return err
		}
		known := map[string][]string{}
		for _, table := range store.Tables {
			names, err := list(ctx, u, func(r *sql.Rows) (name string, err error) { return name, r.Scan(&name) },
				"SELECT name FROM pragma_table_info(?)", table)
			if err != nil {
				return err
			}
			known[table] = names
		}
		for {
			table, c, err := next()
			if errors.Is(err, io.EOF) {
				return fillSums(ctx, u)
			}
			if err == nil {
				err = loadRow(ctx, u, table, c, known[table])
			}
			if err != nil {
				return fmt.Errorf("restore table %s: %w", table, err)
			}
		}
	})
}

// empty removes what is there, which without force may be what every store is born with.
func empty(ctx context.Context, u *unit, force bool) error {
	var held int
	err := u.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM apis) + (SELECT count(*) FROM usage) + (SELECT count(*) FROM usage_blocks) + (SELECT count(*) FROM tokens)
		+ (SELECT count(*) FROM users) - 1 + (SELECT count(*) FROM plans) - 1`).Scan(&held)
	if err != nil {
		return err
	}
	if held > 0 && !force {
		return fmt.Errorf("the database: %w: it holds APIs, users, plans, tokens or usage", store.ErrConflict)
	}
	for _, table := range slices.Backward(append([]string{"answers", "usage_blocks", "usage_block_names"}, store.Tables...)) { // they are about what is removed here
		if _, err := u.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	return nil
}

// fillSums makes the sums that the backup of an older schema does not have.
func fillSums(ctx context.Context, u *unit) error {
	for _, fill := range store.SumFills(store.Dialect{Least: "min", Most: "max", Sum: total}) {
		if _, err := u.ExecContext(ctx, fill); err != nil {
			return fmt.Errorf("sum up what was restored: %w", err)
		}
	}
	return nil
}

func loadRow(ctx context.Context, u *unit, table string, c store.Cells, known []string) error {
	var columns []string
	var args []any
	for column, value := range c {
		if !slices.Contains(known, column) {
			return store.UnknownColumn(table, column)
		}
		columns, args = append(columns, column), append(args, value)
	}
	if len(columns) == 0 {
		return store.EmptyRow(table)
	}
	_, err := u.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES (?"+
		strings.Repeat(", ?", len(columns)-1)+")", args...)
	return neutral(err)
}
