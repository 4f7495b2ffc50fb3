package storetest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"apibuilder/store"
)

var textTests = map[string]func(*testing.T, store.Store){
	"comes back as it was":         textExact,
	"what authors write":           textRefused,
	"what is observed":             textCleaned,
	"asked for by strange text":    textLookup,
	"a program of 1 MiB":           textLarge,
	"SQL stays text in every noun": textSQL,
}

var strange = []string{
	`it's "quoted" and \escaped\`, "'; DROP TABLE apis; --", "%s ? $1 :name @x", "line\nline\r\n\ttab", "\u202eright to left",
	"\ufeffbom", "emoji \U0001F9EA", "combining e\u0301 is not \u00e9", "\uFFFD", "\x01\x1b[31mred\x7f", " padded ", "",
}

func textExact(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for i, text := range strange {
		v := store.Version{APIID: a.ID, Code: text, Requirements: text, Env: map[string]string{"A" + text: text}}
		v = get(s.AddVersion(t.Context(), v))(t)
		same(t, "Version", get(s.Version(t.Context(), a.ID, v.Number))(t), v)
		same(t, "code", v.Code, text)
		check(t, s.Activate(t.Context(), a.ID, i+1))
		same(t, "code_snapshot", get(s.API(t.Context(), a.ID))(t).CodeSnapshot, text)
		u := usageRecord(store.NewID("req"), a.ID)
		u.Path, u.Method = text, text
		check(t, s.AddUsage(t.Context(), []store.Usage{u}))
		same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{ID: u.ID}))(t), []store.Usage{u})
	}
}

func textRefused(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	for _, bad := range []string{"a\x00b", "\xff", "\xed\xa0\x80", "cut \xf0\x9f"} {
		for _, v := range []store.Version{
			{APIID: a.ID, Code: bad},
			{APIID: a.ID, Requirements: bad},
			{APIID: a.ID, Env: map[string]string{"A": bad}},
			{APIID: a.ID, Env: map[string]string{bad: "a"}},
		} {
			_, err := s.AddVersion(t.Context(), v)
			refused(t, err, store.ErrInvalid, "")
		}
		_, err := s.CreateKey(t.Context(), store.Key{ID: "key_1", APIID: a.ID, Name: bad})
		refused(t, err, store.ErrInvalid, "key name")
		_, err = s.CreateUser(t.Context(), store.User{ID: "user_1", Name: bad, Plan: store.DefaultPlan})
		refused(t, err, store.ErrInvalid, "user name")
		refused(t, s.PutPlan(t.Context(), store.Plan{Name: bad}), store.ErrInvalid, "plan name")
	}
	same(t, "versions", len(get(s.FindVersions(t.Context(), store.VersionFilter{APIID: a.ID}))(t)), 0)
}

func textCleaned(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	const bad, clean = "a\x00b\xffc", "a\uFFFDb\uFFFDc"
	u := usageRecord(bad, a.ID)
	u.Path, u.Method, u.Error, u.KeyID = bad, bad, bad, bad
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	check(t, s.AddUsage(t.Context(), []store.Usage{u}))
	same(t, "Usage", get(s.Usage(t.Context(), store.UsageFilter{}))(t), []store.Usage{u.Clean()})

	check(t, s.AddExit(t.Context(), store.Exit{APIID: a.ID, Reason: bad, Detail: bad, Output: bad}))
	e := get(s.Exits(t.Context(), a.ID, 1))(t)[0]
	same(t, "exit", []string{e.Reason, e.Detail, e.Output}, []string{clean, clean, clean})

	v := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID, Detail: bad}))(t)
	same(t, "detail", v.Detail, clean)
	v.Failure, v.Detail, v.State = bad, bad, store.VersionFailed
	check(t, s.UpdateVersion(t.Context(), v))
	v = get(s.Version(t.Context(), a.ID, v.Number))(t)
	same(t, "version", []string{v.Failure, v.Detail}, []string{clean, clean})
}

func textLookup(t *testing.T, s store.Store) {
	makeAPI(t, s, "resize")
	for _, id := range append([]string{"resize\x00", "resize ", "RESIZE", "res%", "\xff", "' OR 1=1 --"}, strange...) {
		_, err := s.API(t.Context(), id)
		refused(t, err, store.ErrNotFound, "")
		_, err = s.User(t.Context(), id)
		refused(t, err, store.ErrNotFound, "")
		_, err = s.Version(t.Context(), id, 1)
		refused(t, err, store.ErrNotFound, "")
		same(t, "usage", len(get(s.Usage(t.Context(), store.UsageFilter{APIID: id, ID: "x"}))(t)), 0)
		same(t, "exits", len(get(s.Exits(t.Context(), id, 1))(t)), 0)
	}
}

func textLarge(t *testing.T, s store.Store) {
	a := makeAPI(t, s, "resize")
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 1<<20 {
		b.WriteRune(rune(' ' + rng.IntN(0x2000)))
	}
	v := get(s.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: b.String(), Requirements: b.String()}))(t)
	check(t, s.Activate(t.Context(), a.ID, v.Number))
	got := get(s.API(t.Context(), a.ID))(t)
	if got.CodeSnapshot != b.String() || got.Requirements != b.String() {
		t.Fatal("a large program came back changed")
	}
}

func textSQL(t *testing.T, s store.Store) {
	const text = "x'); DELETE FROM apis; --"
	a := makeAPI(t, s, "resize")
	get(s.CreateUser(t.Context(), store.User{ID: text, Name: text, Plan: store.DefaultPlan}))(t)
	check(t, s.PutPlan(t.Context(), store.Plan{Name: text}))
	check(t, s.SetUserPlan(t.Context(), text, text))
	get(s.CreateToken(t.Context(), store.Token{ID: text, Name: text, Prefix: text}))(t)
	get(s.CreateKey(t.Context(), store.Key{ID: text, APIID: a.ID, Name: text, Prefix: text}))(t)
	get(s.RevokeKey(t.Context(), text))(t)
	get(s.RevokeToken(t.Context(), text))(t)
	same(t, "APIs", get(s.APIs(t.Context()))(t), []store.API{a})
}
