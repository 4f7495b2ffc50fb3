package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"apibuilder/store"
)

// Rows is the table `apis` of the replaced platform, followed: a table of the same schema that has `id` of any type and
// `code_snapshot`. Of its other columns name, requirements and is_active are read where there are any. Only code_snapshot and
// requirements are ever written, when a version was deployed by way of us. Methods may be called concurrently.
type Rows struct {
	store  *Store
	layout layout
}

// layout says what the table has.
type layout struct {
	name, requirements, active bool
}

// rowsTable is theirs.
const rowsTable = "apis"

const (
	// mostRowText is how many characters of a text are read: one more than is ever deployed, so that a longer one is refused. Others
	// write there, and many rows are read at once.
	mostRowText = 1<<20 + 1
	mostRowName = 1000

	leaseTime   = 15 * time.Second
	leadTimeout = 10 * time.Second
)

// Rows returns the table that is followed, nil where the database has none.
func (s *Store) Rows() *Rows { return s.rows }

// ReadRows reads such a table and changes nothing, not even a table of ours. It returns nil where there is none. Where row-level security
// applies to the user that is an error.
func ReadRows(ctx context.Context, url string) (rows []store.Row, err error) {
	cfg, err := config(url)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	defer pool.Close()
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := checkEncoding(ctx, tx); err != nil {
			return err
		}
		l, there, err := lookAt(ctx, tx)
		if err != nil || !there {
			return err
		}
		// A report without the rows that a policy hides would look whole: they are an error.
		if _, err = tx.Exec(ctx, "SET LOCAL row_security = off"); err != nil {
			return err
		}
		rows, err = list(ctx, tx, scanRow, "SELECT "+l.columns()+" FROM "+rowsTable+" ORDER BY id::text")
		return err
	})
	if codeOf(err) == insufficientRights {
		return nil, fmt.Errorf("read table %s: %w: connect as a user that may read all of its rows, its owner or one with BYPASSRLS", rowsTable, oneLine{err})
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", rowsTable, unavailable(ctx, err))
	}
	return rows, nil
}

// lookAt finds out whether there is a table to follow.
func lookAt(ctx context.Context, q queryer) (l layout, there bool, err error) {
	type column struct{ name, kind string }
	columns, err := list(ctx, q, func(r pgx.Rows) (c column, err error) { return c, r.Scan(&c.name, &c.kind) },
		`SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
			JOIN pg_type t ON t.oid = a.atttypid
			WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
			AND a.attnum > 0 AND NOT a.attisdropped`, rowsTable)
	if err != nil {
		return l, false, err
	}
	kinds := map[string]string{}
	for _, c := range columns {
		kinds[c.name] = c.kind
	}
	text := func(name string) bool { return slices.Contains([]string{"text", "varchar"}, kinds[name]) }
	l = layout{name: text("name"), requirements: text("requirements"), active: kinds["is_active"] == "bool"}
	return l, kinds["id"] != "" && text("code_snapshot"), nil
}

// columns selects a store.Row.
func (l layout) columns() string {
	name, requirements, active := "''", "''", "true"
	if l.name {
		name = fmt.Sprintf("left(coalesce(name::text, ''), %d)", mostRowName)
	}
	if l.requirements {
		requirements = fmt.Sprintf("left(coalesce(requirements::text, ''), %d)", mostRowText)
	}
	if l.active {
		active = "is_active IS NOT FALSE"
	}
	code := fmt.Sprintf("left(coalesce(code_snapshot::text, ''), %d)", mostRowText)
	return strings.Join([]string{"coalesce(id::text, '')", name, code, requirements, active, l.stamp()}, ", ")
}

// stamp is the expression for a row's stamp.
func (l layout) stamp() string {
	sum := "encode(sha256(convert_to(coalesce(code_snapshot::text, ''), 'UTF8')), 'hex')"
	if l.requirements {
		sum += " || ' ' || encode(sha256(convert_to(coalesce(requirements::text, ''), 'UTF8')), 'hex')"
	}
	if l.active {
		return "CASE WHEN is_active IS FALSE THEN 'inactive' ELSE " + sum + " END"
	}
	return sum
}

func scanRow(rows pgx.Rows) (r store.Row, err error) {
	return r, rows.Scan(&r.ID, &r.Name, &r.Code, &r.Requirements, &r.Active, &r.Stamp)
}

// adopt adds what is missing to a table that is there: the column requirements, nullable and without a default, which rewrites
// nothing, and the trigger. Both wait for its writers no longer than a migration does.
func adopt(ctx context.Context, s *Store, log *zap.Logger) error {
	l, there, err := lookAt(ctx, s.pool)
	if err != nil || !there {
		return err
	}
	if !l.requirements {
		err := s.alter(ctx, "ALTER TABLE "+rowsTable+" ADD COLUMN IF NOT EXISTS requirements TEXT")
		if err != nil {
			return fmt.Errorf("add a column to table %s: %w: run `ALTER TABLE %s ADD COLUMN requirements TEXT` as its owner",
				rowsTable, err, rowsTable)
		}
		if l, _, err = lookAt(ctx, s.pool); err != nil {
			return err
		}
		if !l.requirements {
			return fmt.Errorf("table %s has a column requirements that is no text: rename it", rowsTable)
		}
	}
	if err := s.watch(ctx, l); err != nil {
		log.Warn("there is no trigger on the table apis, its rows are looked at every few seconds instead: let the owner of the "+
			"table start the server once", zap.Error(oneLine{err}))
	}
	s.rows = &Rows{store: s, layout: l}
	return nil
}

// watch makes the trigger, which fires for what we read alone, so that a table with counters in it stays quiet.
func (s *Store) watch(ctx context.Context, l layout) error {
	var there bool
	err := s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1::text::regclass AND tgname = 'apibuilder_rows')",
		rowsTable).Scan(&there)
	if err != nil || there {
		return err
	}
	columns := "id, code_snapshot, requirements"
	if l.name {
		columns += ", name"
	}
	if l.active {
		columns += ", is_active"
	}
	err = s.alter(ctx, "CREATE TRIGGER apibuilder_rows AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF "+columns+" ON "+rowsTable+
		" FOR EACH STATEMENT EXECUTE FUNCTION apibuilder_rows_changed()")
	if codeOf(err) == duplicateObject { // another node was faster
		return nil
	}
	return err
}

// alter changes the schema of a table that others use meanwhile.
func (s *Store) alter(ctx context.Context, ddl string) error {
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", migrationLockTimeout.String())
			if err == nil {
				_, err = tx.Exec(ctx, ddl)
			}
			return err
		})
		if codeOf(err) != lockNotAvailable || attempt == migrationAttempts {
			return err
		}
	}
}

// Changed receives when rows may have changed, and where notifications do not arrive every so often.
func (r *Rows) Changed() <-chan struct{} { return r.store.feed.rows }

// Marks returns a mark of each row that has an id, by that. A row whose mark is the same was not written to. all is false where row-level security may hide
// rows from us, so that one that is not there may be there (PostgreSQL's manual, 5.9).
func (r *Rows) Marks(ctx context.Context) (marks map[string]string, all bool, err error) {
	type mark struct {
		id, mark string
		hides    bool
	}
	marks = map[string]string{}
	err = r.store.read(ctx, func() error {
		// One statement, because the policies may change between two.
		found, err := list(ctx, r.store.pool, func(rows pgx.Rows) (m mark, err error) { return m, rows.Scan(&m.id, &m.mark, &m.hides) },
			"SELECT id::text, xmin::text || ctid::text, false FROM "+rowsTable+" WHERE id IS NOT NULL UNION ALL SELECT '', '', row_security_active('"+rowsTable+"')")
		for _, m := range found {
			if m.mark == "" {
				all = !m.hides
				continue
			}
			marks[m.id] = m.mark
		}
		return err
	})
	return marks, all, err
}

// Read returns the rows with these ids, without those that are gone.
func (r *Rows) Read(ctx context.Context, ids []string) (rows []store.Row, err error) {
	err = r.store.read(ctx, func() error {
		rows, err = list(ctx, r.store.pool, scanRow, "SELECT "+r.layout.columns()+" FROM "+rowsTable+" WHERE id::text = ANY($1)", ids)
		return err
	})
	return rows, err
}

// Followed returns what was taken over, by id: of all rows when none is named.
func (r *Rows) Followed(ctx context.Context, ids ...string) (map[string]store.Followed, error) {
	type entry struct {
		id string
		store.Followed
	}
	followed := map[string]store.Followed{}
	err := r.store.read(ctx, func() error {
		all, err := list(ctx, r.store.pool, func(rows pgx.Rows) (e entry, err error) { return e, rows.Scan(&e.id, &e.Stamp, &e.Problem) },
			"SELECT id, stamp, problem FROM apibuilder_followed WHERE $1::text[] IS NULL OR id = ANY($1)", ids)
		for _, e := range all {
			followed[e.id] = e.Followed
		}
		return err
	})
	return followed, err
}

// Take notes that a row's content was taken over, or why it was not.
func (r *Rows) Take(ctx context.Context, id string, f store.Followed) error {
	return r.store.read(ctx, func() error {
		_, err := r.store.pool.Exec(ctx, `INSERT INTO apibuilder_followed (id, stamp, problem) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, problem = excluded.problem, time = now()`,
			id, f.Stamp, store.CleanText(f.Problem))
		return err
	})
}

// Forget drops the note of a row that is gone.
func (r *Rows) Forget(ctx context.Context, id string) error {
	return r.store.read(ctx, func() error {
		_, err := r.store.pool.Exec(ctx, "DELETE FROM apibuilder_followed WHERE id = $1", id)
		return err
	})
}

// Suspend takes an API out of service without removing anything of it.
func (r *Rows) Suspend(ctx context.Context, id string) error {
	return r.store.write(ctx, func(u *unit) error {
		u.changed(id)
		_, err := u.Exec(ctx, "UPDATE apibuilder_apis SET active_version = 0 WHERE id = $1", id)
		return err
	})
}

// Lead reports whether this node is the one that takes rows over. It holds for 15 s, by the database's clock. Where ctx ends meanwhile, the
// answer is waited for nevertheless, for 10 s: the database may take a lease for whoever has gone, behind a Yield.
func (r *Rows) Lead(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), leadTimeout)
	defer cancel()
	var lead bool
	err := r.store.read(ctx, func() error {
		err := r.store.pool.QueryRow(asked, `INSERT INTO apibuilder_leases AS l (name, holder, until) VALUES ('rows', $1, now() + $2::text::interval)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE l.holder = excluded.holder OR l.until < now() RETURNING true`, r.store.node, leaseTime.String()).Scan(&lead)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return lead, err
}

// Yield lets another node take over at once.
func (r *Rows) Yield(ctx context.Context) error {
	return r.store.read(ctx, func() error {
		_, err := r.store.pool.Exec(ctx, "DELETE FROM apibuilder_leases WHERE name = 'rows' AND holder = $1", r.store.node)
		return err
	})
}

// writeBack gives their row what serves now. A row that was changed since it was taken over is left alone: that change is
// newer, and its turn comes.
func (r *Rows) writeBack(ctx context.Context, u *unit, id, code, requirements string) error {
	if r == nil || store.IsNewID("api", id) { // it was deployed here, whatever has its id there
		return nil
	}
	var stamp string
	err := u.QueryRow(ctx, "UPDATE "+rowsTable+` SET code_snapshot = $2, requirements = $3 WHERE id::text = $1
		AND `+r.layout.stamp()+` = (SELECT stamp FROM apibuilder_followed WHERE apibuilder_followed.id = $1)
		AND (code_snapshot::text IS DISTINCT FROM $2 OR coalesce(requirements::text, '') <> $3) RETURNING `+r.layout.stamp(),
		id, code, requirements).Scan(&stamp)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = u.Exec(ctx, "UPDATE apibuilder_followed SET stamp = $2, problem = '' WHERE id = $1", id, stamp)
	}
	if err != nil {
		return fmt.Errorf("write to table %s: %w", rowsTable, err)
	}
	return nil
}
