package postgres

import (
	"fmt"
	"testing"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

// TestNobodyWashesTheAuditLogAway has one token ask for more than is kept, and be refused.
func TestNobodyWashesTheAuditLogAway(t *testing.T) {
	url := pgtest.Database(t)
	s := openAt(t, url)
	pgtest.Exec(t, url, fmt.Sprintf(`INSERT INTO apibuilder_audit (`+auditColumns+`) SELECT 'req_' || n, n,
		CASE WHEN n <= 20 THEN 'tok_quiet' ELSE 'tok_loud' END, 'author', '', 'POST', '/', '', CASE WHEN n <= 10 OR n = 21 THEN 200 ELSE 403 END, ''
		FROM generate_series(1, %d) AS g (n)`, store.KeptAudit+store.AuditRound-1))
	if err := s.AddAudit(t.Context(), store.AuditEntry{ID: "req_last", TokenID: "tok_loud", Status: 403}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM apibuilder_audit":                                              store.KeptAudit,
		"SELECT count(*) FROM apibuilder_audit WHERE token_id = 'tok_quiet'":                 20,
		"SELECT count(*) FROM apibuilder_audit WHERE token_id = 'tok_loud' AND status = 200": 1,
		"SELECT count(*) FROM apibuilder_audit WHERE id = 'req_last'":                        1,
		"SELECT count(*) FROM apibuilder_audit WHERE id = 'req_22'":                          0,
	} {
		if got := ask[int64](t, url, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}
