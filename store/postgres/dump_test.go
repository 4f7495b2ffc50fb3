package postgres

import (
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// TestNobodyBeginsDuringARestore has a node start while rows are loaded: it is known once they are there, and not before.
func TestNobodyBeginsDuringARestore(t *testing.T) {
	url := pgtest.Database(t)
	s, other := openAt(t, url), openAt(t, url)
	beat := make(chan error, 1)
	begun := false
	err := s.Load(t.Context(), true, func() (string, store.Cells, error) {
		if begun {
			return "", nil, io.EOF
		}
		begun = true
		go func() { beat <- other.BeatNode(t.Context(), store.Node{ID: "node_b", Name: "b"}) }()
		select {
		case err := <-beat:
			t.Errorf("it is known already, %v", err)
			beat <- err
		case <-time.After(time.Second):
		}
		nodes, err := NodesAt(t.Context(), url)
		if err != nil || len(nodes) != 0 {
			t.Errorf("%+v, %v", nodes, err)
		}
		return "", nil, io.EOF
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-beat; err != nil {
		t.Fatal(err)
	}
	if nodes, err := NodesAt(t.Context(), url); err != nil || len(nodes) != 1 || nodes[0].ID != "node_b" || nodes[0].Name != "b" || nodes[0].Silent > time.Minute {
		t.Errorf("%+v, %v", nodes, err)
	}
}

// TestNodesOfADatabaseOfAnySchema are listed without making a newer one of it.
func TestNodesOfADatabaseOfAnySchema(t *testing.T) {
	url := pgtest.Database(t)
	if nodes, err := NodesAt(t.Context(), url); err != nil || len(nodes) != 0 {
		t.Errorf("an empty one: %+v, %v", nodes, err)
	}
	s := openAt(t, url)
	if err := s.BeatNode(t.Context(), store.Node{ID: "node_b", Name: "b"}); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "ALTER TABLE apibuilder_nodes DROP COLUMN keys; DELETE FROM apibuilder_schema_migrations WHERE version >= 17")
	if nodes, err := NodesAt(t.Context(), url); err != nil || len(nodes) != 1 {
		t.Errorf("an older one: %+v, %v", nodes, err)
	}
	pgtest.Exec(t, url, "DROP TABLE apibuilder_nodes; DELETE FROM apibuilder_schema_migrations WHERE version >= 10")
	if nodes, err := NodesAt(t.Context(), url); err != nil || len(nodes) != 0 {
		t.Errorf("one from before nodes: %+v, %v", nodes, err)
	}
}
