package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDatabaseURLIsTheCloserOfTwoSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, file value
		want      string
	}{
		{value{}, value{}, ""},
		{value{"postgres://x", fromEnv, "E"}, value{}, "postgres://x"},
		{value{}, value{file, fromFile, "F"}, "postgres://from-file"},
		{value{"postgres://x", fromEnv, "E"}, value{file, fromFile, "F"}, "postgres://x"},
		{value{"postgres://x", fromFile, "E"}, value{file, fromFlag, "F"}, "postgres://from-file"},
	} {
		got, err := databaseURL(settings{"database-url": c.url, "database-url-file": c.file})
		if err != nil || got.reveal() != c.want {
			t.Errorf("%v and %v: %q, %v", c.url, c.file, got.reveal(), err)
		}
	}
}

func TestDatabaseURLRefused(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]settings{
		"both set":    {"database-url": value{"postgres://s3cret", fromEnv, "E"}, "database-url-file": value{empty, fromEnv, "F"}},
		"no such":     {"database-url-file": value{filepath.Join(dir, "no"), fromEnv, "F"}},
		"in one line": {"database-url-file": value{empty, fromEnv, "F"}},
	} {
		_, err := databaseURL(s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	o := serveOptions{database: newSecret("postgres://s3cret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(verb+" "+verb, o.database, o); strings.Contains(text, "s3cret") || strings.Contains(text, "733363") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
