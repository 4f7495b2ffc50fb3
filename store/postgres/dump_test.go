package postgres

import (
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
