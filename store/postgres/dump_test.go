package postgres

import (
	"io"
	"path/filepath"
	"slices"
	"testing"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/sqlite"
	"apibuilder/store/storetest"
)

func TestDumpsMoveBetweenDrivers(t *testing.T) {
	drivers := map[string]storetest.Opener{
		"postgres": func(t *testing.T) store.Store { return openAt(t, pgtest.Database(t)) },
		"sqlite": func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	}
	for from, source := range drivers {
		for to, target := range drivers {
			t.Run(from+" to "+to, func(t *testing.T) { storetest.RunDump(t, source, target) })
		}
	}
}

func TestABackupOfAnOlderSchemaHasItsSums(t *testing.T) {
	storetest.RunOldDump(t, func(t *testing.T) store.Store { return openAt(t, pgtest.Database(t)) })
}

// TestARestoredStoreCountsQuotasAnew: what is used of a quota is what the usage of the backup says.
func TestARestoredStoreCountsQuotasAnew(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	ask := store.QuotaAsk{Policy: "api", Key: "api_1", Month: quotaMonth, Quota: 10, Want: 10}
	lease := func(want int64) {
		t.Helper()
		if g, err := s.LeaseQuota(t.Context(), ask); err != nil || g.Granted != want {
			t.Errorf("%d of %d were given, %v", g.Granted, want, err)
		}
	}
	lease(10)
	lease(0)
	if err := s.Load(t.Context(), true, func() (string, store.Cells, error) { return "", nil, io.EOF }); err != nil {
		t.Fatal(err)
	}
	lease(10)
}

// TestEveryTableIsInABackup names those that need not be.
func TestEveryTableIsInABackup(t *testing.T) {
	s := openAt(t, pgtest.Database(t))
	all := slices.Concat(store.Tables, []string{"schema_migrations", "changes", "followed", "leases", "nodes", "permits", "answers", "quotas"})
	names := ask[[]string](t, s.pool.Config().ConnString(), "SELECT array_agg(substr(relname, 12)) FROM pg_class WHERE relname LIKE 'apibuilder\\_%' AND relkind = 'r'")
	slices.Sort(all)
	slices.Sort(names)
	if !slices.Equal(all, names) {
		t.Errorf("tables are %q, backups know %q", names, all)
	}
}
