package adopt_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"apibuilder/adopt"
	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/postgres"
)

// watched are rows that note how much time they were given, and that another node follows after some looks at the lease.
type watched struct {
	*postgres.Rows
	looks     int // 0: for ever
	leases    int
	deadlines []time.Time
}

func (w *watched) Lead(ctx context.Context) (bool, error) {
	w.leases++
	if w.leases == w.looks {
		return false, nil
	}
	return w.Rows.Lead(ctx)
}

func (w *watched) Read(ctx context.Context, ids []string) ([]store.Row, error) {
	deadline, _ := ctx.Deadline()
	w.deadlines = append(w.deadlines, deadline)
	return w.Rows.Read(ctx, ids)
}

// TestTheFirstStartWithManyRows takes as long as it takes: it ended after 30 s, which is some thousand rows.
func TestTheFirstStartWithManyRows(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, `CREATE TABLE apis (id int, code_snapshot text, requirements text); INSERT INTO apis SELECT n, 'a', '' FROM generate_series(1, 120) n`)
	st, err := postgres.Open(t.Context(), postgres.Options{URL: url, SweepEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	take := func(looks int) *watched {
		t.Helper()
		rows := &watched{Rows: st.Rows(), looks: looks}
		f := adopt.New(adopt.Config{Rows: rows, Store: st, Deployer: &deployer{store: st}, Every: time.Hour})
		if err := errors.Join(f.Start(t.Context()), f.Stop(context.Background())); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	count := func() int {
		all, err := st.Rows().Followed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	take(3)
	if n := count(); n == 0 || n >= 120 {
		t.Errorf("%d rows were taken over by a node that lost its lease after some", n)
	}
	rows := take(0)
	if n := count(); n != 120 {
		t.Errorf("%d rows were taken over", n)
	}
	for i := 1; i < len(rows.deadlines); i++ {
		if !rows.deadlines[i].After(rows.deadlines[i-1]) {
			t.Errorf("part %d had only what others left of the time", i)
		}
	}
}
