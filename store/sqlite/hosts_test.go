package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestHostsAreLookedUpByTheirIndex makes many APIs and looks how SQLite would find one by its host; and an index keeps hosts unique.
func TestHostsAreLookedUpByTheirIndex(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	_, err := s.writer.ExecContext(t.Context(), `WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 10000)
		INSERT INTO apis (id, name, user_id, public, public_docs, code_snapshot, requirements, rate_requests, rate_per_ns, created_at, updated_at, options)
		SELECT 'api_' || n, 'n' || n, 'operator', 1, 1, '', '', 0, 0, 0, 0, CASE WHEN n % 100 = 0 THEN '{"host":"h' || n || '.example"}' ELSE '{}' END
		FROM g`)
	if err != nil {
		t.Fatal(err)
	}
	for query, args := range map[string][]any{hostsSQL: nil, takenSQL: {"h7.example", "api_1"}} {
		var id, parent, unused int
		var plan string
		err := s.reader.QueryRowContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...).Scan(&id, &parent, &unused, &plan)
		if err != nil || !strings.Contains(plan, "apis_by_host") {
			t.Errorf("%s: %s, %v", query, plan, err)
		}
	}
	hosts, err := s.Hosts(t.Context())
	if err != nil || len(hosts) != 100 || hosts["h700.example"] != "api_700" {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
	if _, err := s.writer.ExecContext(t.Context(), `UPDATE apis SET options = '{"host":"h100.example"}' WHERE id = 'api_7'`); err == nil {
		t.Error("a host of two APIs was stored")
	}
}
