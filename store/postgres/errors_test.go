package postgres

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

// TestADatabaseThatOnlyReadsIsAway has what a standby does, or a primary that was made one: it answers, and takes no change.
func TestADatabaseThatOnlyReadsIsAway(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	only := func(value string) {
		t.Helper()
		err := pgx.BeginTxFunc(t.Context(), s.pool, pgx.TxOptions{AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
			var name string
			err := tx.QueryRow(t.Context(), "SELECT quote_ident(current_database())").Scan(&name)
			if err == nil {
				_, err = tx.Exec(t.Context(), "ALTER DATABASE "+name+" SET default_transaction_read_only = "+value)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.pool.Reset()
	}
	only("on")
	if _, err := s.Plan(t.Context(), store.DefaultPlan); err != nil {
		t.Errorf("read: %v", err)
	}
	for name, write := range map[string]func() error{
		"plan":  func() error { return s.PutPlan(t.Context(), store.Plan{Name: "gold"}) },
		"usage": func() error { return s.AddUsage(t.Context(), []store.Usage{{ID: "x"}}) },
		"beat":  func() error { return s.BeatNode(t.Context(), store.Node{ID: "node_1", Name: "a", Version: "1"}) },
		"quota": func() error { _, err := s.LeaseQuota(t.Context(), store.QuotaAsk{Policy: "key", Key: "k"}); return err },
		"permit": func() error {
			_, err := s.LeasePermits(t.Context(), []store.PermitAsk{{Name: "n", Step: 1, Burst: 1, Want: 1}})
			return err
		},
	} {
		if err := write(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	only("off")
	if err := s.PutPlan(t.Context(), store.Plan{Name: "gold"}); err != nil {
		t.Errorf("writable again: %v", err)
	}
}

func TestADatabaseWithoutResourcesIsAway(t *testing.T) {
	for code, want := range map[string]bool{"53100": true, "53200": true, "53300": true, "57P01": true, "08006": true, "23505": false, "42P01": false} {
		if got := isUnavailable(&pgconn.PgError{Code: code}); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}
