package postgres

import (
	"strings"
	"testing"

	"apibuilder/internal/pgtest"
)

// TestHostsAreLookedUpByTheirIndex makes many APIs and looks how PostgreSQL would find one by its host; and an index keeps hosts unique
// whoever writes.
func TestHostsAreLookedUpByTheirIndex(t *testing.T) {
	url := pgtest.Database(t)
	s := openAt(t, url)
	pgtest.Exec(t, url, `INSERT INTO apibuilder_apis (id, name, user_id, public, public_docs, code_snapshot, requirements, rate_requests, rate_per_ns, created_at, updated_at, options)
		SELECT 'api_' || n, 'n' || n, 'operator', true, true, '', '', 0, 0, 0, 0, CASE WHEN n % 100 = 0 THEN '{"host":"h' || n || '.example"}' ELSE '{}' END
		FROM generate_series(1, 10000) AS g (n)`)
	pgtest.Exec(t, url, "ANALYZE")
	for _, query := range []string{hostsSQL, strings.NewReplacer("$1", "'h7.example'", "$2", "'api_1'").Replace(takenSQL)} {
		if plan := ask[string](t, url, "EXPLAIN (FORMAT JSON) "+query); !strings.Contains(plan, "apibuilder_apis_by_host") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s:\n%s", query, plan)
		}
	}
	hosts, err := s.Hosts(t.Context())
	if err != nil || len(hosts) != 100 || hosts["h700.example"] != "api_700" {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
	_, err = s.pool.Exec(t.Context(), `UPDATE apibuilder_apis SET options = '{"host":"h100.example"}' WHERE id = 'api_7'`)
	if codeOf(err) != uniqueViolation {
		t.Errorf("a host of two APIs: %v", err)
	}
}
