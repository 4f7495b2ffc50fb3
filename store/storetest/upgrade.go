package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"apibuilder/store"
)

// OldRows is SQL that fills a schema of version 4, which knew neither keys of users nor sums; tables are named with a prefix. The
// values of the booleans are the driver's.
func OldRows(prefix, yes, no string) string {
	sql := fmt.Sprintf(`INSERT INTO _apis (id, name, user_id, public, public_docs, code_snapshot, requirements, rate_requests, rate_per_ns,
			created_at, updated_at) VALUES ('api_a', 'a', 'operator', %s, %s, '', '', 0, 0, 0, 0);
		INSERT INTO _keys (id, api_id, name, prefix, hash, rate_requests, rate_per_ns, created_at, revoked_at)
			VALUES ('key_1', 'api_a', 'old', 'ab_x', HASH, 2, 3, 5, NULL);
	`, yes, no)
	for i, u := range oldUsage() {
		sql += fmt.Sprintf(`INSERT INTO _usage (id, api_id, version, key_id, time, method, path, status, error, bytes_in, bytes_out,
			duration_us, start_wait_us) VALUES ('%d', '%s', 1, '%s', %d, 'GET', '/', %d, '%s', %d, %d, %d, %d);
		`, i, u.APIID, u.KeyID, u.Time.UnixMicro(), u.Status, u.Error, u.BytesIn, u.BytesOut, u.Duration.Microseconds(),
			u.StartWait.Microseconds())
	}
	return strings.NewReplacer("_apis", prefix+"apis", "_keys", prefix+"keys", "_usage", prefix+"usage").Replace(sql)
}

func oldUsage() []store.Usage {
	all := []store.Usage{
		used("", "api_a", "key_1", 0), used("", "api_a", "key_1", 1.5), used("", "api_gone", "key_gone", 26), refusedOne(used("", "api_a", "", 26)),
	}
	for i := range all {
		all[i].CPU = 0
	}
	all[0].Status, all[1].BytesIn, all[1].BytesOut = 500, 1<<62, -1
	return all
}

// Upgraded checks what became of OldRows: sums as if the records had been stored by AddUsage, and the key as it was.
func Upgraded(t *testing.T, s store.Store, open Opener) {
	fresh := open(t)
	a := newAPI("a")
	a.ID = "api_a"
	get(fresh.CreateAPI(t.Context(), a))(t)
	records := oldUsage()
	for i := range records {
		records[i].ID = fmt.Sprint(i)
	}
	check(t, fresh.AddUsage(t.Context(), records))
	for _, by := range []store.SumBy{store.ByHour, store.ByDay, store.ByKey, store.ByUser, store.ByRoute} {
		f := store.SumFilter{By: by}
		same(t, "sums by "+string(by), get(s.SumUsage(t.Context(), f))(t), get(fresh.SumUsage(t.Context(), f))(t))
	}
	want := store.Key{
		ID: "key_1", APIID: "api_a", Name: "old", Prefix: "ab_x", Hash: store.HashSecret("old"), Rate: store.Rate{Requests: 2, Per: 3},
		CreatedAt: time.UnixMicro(5).UTC(), LastUsedAt: records[1].Time,
	}
	same(t, "Keys", get(s.Keys(t.Context(), "api_a"))(t), []store.Key{want})
	same(t, "KeyByHash", get(s.KeyByHash(t.Context(), want.Hash))(t), want)
	same(t, "revoked", get(s.RevokeKey(t.Context(), "key_1"))(t).RevokedAt.IsZero(), false)
}
