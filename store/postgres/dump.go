package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"apibuilder/store"
)

const tablePrefix = "apibuilder_"

// Dump is as in store.Dumper: a transaction that sees one moment.
func (s *Store) Dump(ctx context.Context, row func(string, store.Cells) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return s.read(ctx, func() error {
		return pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
			if err := unhurried(ctx, tx); err != nil {
				return err
			}
			for _, table := range store.Tables {
				if err := dumpTable(ctx, tx, table, row); err != nil {
					return fmt.Errorf("read table %s: %w", table, err)
				}
			}
			return nil
		})
	})
}

func dumpTable(ctx context.Context, tx pgx.Tx, table string, row func(string, store.Cells) error) error {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", tablePrefix+table).Scan(&there); err != nil || !there {
		return err
	}
	rows, err := tx.Query(ctx, "SELECT * FROM "+tablePrefix+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		c := store.Cells{}
		for i, f := range rows.FieldDescriptions() {
			c[f.Name] = values[i]
		}
		if err := row(table, c); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Load is as in store.Loader. What next has given is gone: there is one attempt. From before the first next until the end no node makes itself
// known, so that a server that starts meanwhile begins with what was loaded.
func (s *Store) Load(ctx context.Context, force bool, next func() (string, store.Cells, error)) error {
	return s.writeUpTo(ctx, 1, func(u *unit) error {
		u.changed("")
		if err := unhurried(ctx, u); err != nil {
			return err
		}
		if _, err := u.Exec(ctx, "LOCK TABLE apibuilder_nodes IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := empty(ctx, u, force); err != nil {
			return err
		}
		kinds := map[string]map[string]string{}
		for _, table := range store.Tables {
			var err error
			if kinds[table], err = columnKinds(ctx, u, table); err != nil {
				return err
			}
		}
		for {
			table, c, err := next()
			if errors.Is(err, io.EOF) {
				if err := fillSums(ctx, u); err != nil {
					return err
				}
				return restartSequences(ctx, u, kinds)
			}
			if err == nil {
				err = loadRow(ctx, u, table, c, kinds[table])
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
	err := u.QueryRow(ctx, `SELECT (SELECT count(*) FROM apibuilder_apis) + (SELECT count(*) FROM apibuilder_usage)
		+ (SELECT count(*) FROM apibuilder_tokens) + (SELECT count(*) FROM apibuilder_users) - 1
		+ (SELECT count(*) FROM apibuilder_plans) - 1`).Scan(&held)
	if err != nil {
		return err
	}
	if held > 0 && !force {
		return fmt.Errorf("the database: %w: it holds APIs, users, plans, tokens or usage", store.ErrConflict)
	}
	// Answers are about what is removed here, what a backup holds says how much of quotas is used, and the rows of a table that is followed
	// are to be compared with it.
	for _, table := range slices.Backward(append([]string{"answers", "quotas", "followed"}, store.Tables...)) {
		if _, err := u.Exec(ctx, "DELETE FROM "+tablePrefix+table); err != nil {
			return err
		}
	}
	return nil
}

// fillSums makes the sums that the backup of an older schema does not have.
func fillSums(ctx context.Context, u *unit) error {
	for _, fill := range store.SumFills(store.Dialect{Prefix: tablePrefix, Least: "least", Most: "greatest", Sum: total}) {
		if _, err := u.Exec(ctx, fill); err != nil {
			return fmt.Errorf("sum up what was restored: %w", err)
		}
	}
	return nil
}

func columnKinds(ctx context.Context, q queryer, table string) (map[string]string, error) {
	type column struct{ name, kind string }
	all, err := list(ctx, q, func(r pgx.Rows) (c column, err error) { return c, r.Scan(&c.name, &c.kind) },
		`SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
			WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped`, tablePrefix+table)
	kinds := map[string]string{}
	for _, c := range all {
		kinds[c.name] = c.kind
	}
	return kinds, err
}

func loadRow(ctx context.Context, u *unit, table string, c store.Cells, kinds map[string]string) error {
	var columns, places []string
	var args []any
	for column, value := range c {
		kind, ok := kinds[column]
		if !ok {
			return store.UnknownColumn(table, column)
		}
		if n, isNumber := value.(int64); isNumber && kind == "bool" {
			value = n != 0
		}
		args = append(args, value)
		columns, places = append(columns, column), append(places, "$"+strconv.Itoa(len(args)))
	}
	if len(columns) == 0 {
		return store.EmptyRow(table)
	}
	_, err := u.Exec(ctx, "INSERT INTO "+tablePrefix+table+" ("+strings.Join(columns, ", ")+") VALUES ("+
		strings.Join(places, ", ")+")", args...)
	return neutral(err)
}

// restartSequences goes on after the numbers that were restored.
func restartSequences(ctx context.Context, u *unit, kinds map[string]map[string]string) error {
	for table, columns := range kinds {
		if columns["seq"] == "" {
			continue
		}
		_, err := u.Exec(ctx, "SELECT setval(pg_get_serial_sequence($1, 'seq'), coalesce(max(seq), 0) + 1, false) FROM "+tablePrefix+table,
			tablePrefix+table)
		if err != nil {
			return err
		}
	}
	return nil
}
