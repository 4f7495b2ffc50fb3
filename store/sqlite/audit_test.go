package sqlite

import (
	"path/filepath"
	"testing"

	"apibuilder/store"
)

// TestNobodyWashesTheAuditLogAway has one token ask for more than is kept, and be refused.
func TestNobodyWashesTheAuditLogAway(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "x.db"))
	_, err := s.writer.ExecContext(t.Context(), `WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?)
		INSERT INTO audit (`+auditColumns+`) SELECT 'req_' || n, n, CASE WHEN n <= 20 THEN 'tok_quiet' ELSE 'tok_loud' END, 'author', '', 'POST', '/', '',
		CASE WHEN n <= 10 OR n = 21 THEN 200 ELSE 403 END, '' FROM g`, store.KeptAudit+store.AuditRound-1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddAudit(t.Context(), store.AuditEntry{ID: "req_last", TokenID: "tok_loud", Status: 403}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM audit":                                              store.KeptAudit,
		"SELECT count(*) FROM audit WHERE token_id = 'tok_quiet'":                 20,
		"SELECT count(*) FROM audit WHERE token_id = 'tok_loud' AND status = 200": 1,
		"SELECT count(*) FROM audit WHERE id = 'req_last'":                        1,
		"SELECT count(*) FROM audit WHERE id = 'req_22'":                          0,
	} {
		var got int
		if err := s.reader.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, want %d; %v", query, got, want, err)
		}
	}
}
