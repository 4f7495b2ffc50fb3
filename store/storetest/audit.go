package storetest

import (
	"fmt"
	"testing"
	"time"

	"apibuilder/store"
)

var auditTests = map[string]func(*testing.T, store.Store){
	"round trip": auditRoundTrip,
	"filters":    auditFilters,
}

func auditRoundTrip(t *testing.T, s store.Store) {
	same(t, "entries at birth", len(get(s.Audit(t.Context(), store.AuditFilter{}))(t)), 0)
	var e store.AuditEntry
	fill(&e)
	check(t, s.AddAudit(t.Context(), e))
	same(t, "Audit", get(s.Audit(t.Context(), store.AuditFilter{}))(t), []store.AuditEntry{e})
	check(t, s.AddAudit(t.Context(), store.AuditEntry{ID: "req_now", Path: "/not\xffUTF-8\x00"}))
	fresh := get(s.Audit(t.Context(), store.AuditFilter{Limit: 1}))(t)
	same(t, "newest", fresh[0].ID, "req_now")
	recent(t, "Time", fresh[0].Time)
}

func auditFilters(t *testing.T, s store.Store) {
	begin := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	for i := range 6 {
		check(t, s.AddAudit(t.Context(), store.AuditEntry{
			ID: fmt.Sprintf("req_%d", i), APIID: fmt.Sprintf("api_%d", i%2), Time: begin.Add(time.Duration(i) * time.Hour),
		}))
	}
	for _, c := range []struct {
		f    store.AuditFilter
		want []string
	}{
		{store.AuditFilter{APIID: "api_1"}, []string{"req_5", "req_3", "req_1"}},
		{store.AuditFilter{Since: begin.Add(4 * time.Hour)}, []string{"req_5", "req_4"}},
		{store.AuditFilter{APIID: "api_0", Since: begin.Add(time.Hour), Limit: 1}, []string{"req_4"}},
		{store.AuditFilter{APIID: "not\x00UTF-8\xff"}, nil},
	} {
		var ids []string
		for _, e := range get(s.Audit(t.Context(), c.f))(t) {
			ids = append(ids, e.ID)
		}
		same(t, fmt.Sprintf("Audit %+v", c.f), ids, c.want)
	}
}
