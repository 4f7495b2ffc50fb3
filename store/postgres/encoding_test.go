package postgres

import (
	"strings"
	"testing"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
)

// TestDatabaseOfAnotherEncoding: it cannot hold what programs and requests say, and a record that it refuses would hold up all others.
func TestDatabaseOfAnotherEncoding(t *testing.T) {
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
	there := url[:strings.LastIndex(url[:strings.Index(url, "?")], "/")+1] + "latin" + url[strings.Index(url, "?"):]
	pgtest.Exec(t, there, "CREATE TABLE apis (id int, code_snapshot text)")
	_, err := Open(t.Context(), Options{URL: there})
	if err == nil || !strings.Contains(err.Error(), "LATIN1") || !strings.Contains(err.Error(), "ENCODING 'UTF8'") {
		t.Errorf("error is %v", err)
	}
	if _, err := ReadRows(t.Context(), there); err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("error of import check is %v", err)
	}
	if n := ask[int](t, there, "SELECT count(*) FROM pg_class WHERE relname LIKE 'apibuilder%'"); n != 0 {
		t.Errorf("%d tables were made", n)
	}
}

// TestUserOfAnotherEncoding: other programs have to see the same text as this one.
func TestUserOfAnotherEncoding(t *testing.T) {
	url := pgtest.Database(t)
	const code = "# café"
	pgtest.Exec(t, url, "DO $$ BEGIN CREATE ROLE latin LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$; ALTER ROLE latin SET client_encoding = 'LATIN1'")
	pgtest.Exec(t, url, "CREATE TABLE apis (id int, code_snapshot text); INSERT INTO apis VALUES (1, '"+code+"')")
	url = strings.ReplaceAll(url, "user=postgres", "user=latin")
	rows, err := ReadRows(t.Context(), url)
	if err != nil || len(rows) != 1 || rows[0].Code != code {
		t.Errorf("%+v, %v", rows, err)
	}
	s := openAt(t, url)
	a := makeAPI(t, s, "resize")
	if _, err := s.AddVersion(t.Context(), store.Version{APIID: a.ID, Code: code}); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, strings.ReplaceAll(url, "user=latin", "user=postgres"), "SELECT code = E'# caf\\u00e9' FROM apibuilder_versions") {
		t.Error("others read another text")
	}
}
