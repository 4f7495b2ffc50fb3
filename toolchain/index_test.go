package toolchain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cleanConfig hides this machine's own configuration and returns a home directory to put another into.
func cleanConfig(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{
		"UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE",
		"UV_FIND_LINKS", "PIP_FIND_LINKS", "PIP_CONFIG_FILE", "XDG_CONFIG_HOME",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_DIRS", filepath.Join(home, "xdg"))
	return home
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestConfiguredIndexTakesTheStrongestSource(t *testing.T) {
	home := cleanConfig(t)
	steps := []struct {
		set  func()
		want string
	}{
		{func() { writeFile(t, home+"/xdg/pip/pip.conf", "[global]\nindex-url = https://xdg.test/simple\n") }, "https://xdg.test/simple"},
		{func() { writeFile(t, home+"/.pip/pip.conf", "[global]\nindex_url: https://legacy.test/simple/\n") }, "https://legacy.test/simple"},
		{func() {
			writeFile(t, home+"/.config/pip/pip.conf", "; c\n[install]\nindex-url =\n  https://user.test/simple\n")
		}, "https://user.test/simple"},
		{func() {
			writeFile(t, home+"/own.conf", "[install]\nindex-url=https://own.test/simple\n[other]\nindex-url=https://no.test\n")
			t.Setenv("PIP_CONFIG_FILE", home+"/own.conf")
		}, "https://own.test/simple"},
		{func() { t.Setenv("PIP_CONFIG_FILE", os.DevNull) }, defaultIndex},
		{func() { t.Setenv("PIP_INDEX_URL", "http://pip.test/simple") }, "http://pip.test/simple"},
		{func() { t.Setenv("UV_INDEX_URL", "http://uv.test/simple") }, "http://uv.test/simple"},
		{func() { t.Setenv("UV_DEFAULT_INDEX", "corp=https://default.test/a/simple/") }, "https://default.test/a/simple"},
	}
	for _, step := range steps {
		step.set()
		got, err := ConfiguredIndex()
		if err != nil || got.URL != step.want {
			t.Fatalf("ConfiguredIndex() = %q, %v; want %q", got.URL, err, step.want)
		}
	}
}

func TestConfiguredIndexCertAndFindLinks(t *testing.T) {
	home := cleanConfig(t)
	writeFile(t, home+"/.config/pip/pip.conf", "[global]\ncert = /pip/ca.pem\nfind-links =\n    /one\n    https://two.test/w\n")
	got, err := ConfiguredIndex()
	if err != nil || got.CertFile != "/pip/ca.pem" || !slices.Equal(got.FindLinks, []string{"/one", "https://two.test/w"}) {
		t.Fatalf("ConfiguredIndex() = %+v, %v", got, err)
	}
	t.Setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
	t.Setenv("PIP_FIND_LINKS", "/a /b")
	got, err = ConfiguredIndex()
	if err != nil || got.CertFile != "/requests.pem" || !slices.Equal(got.FindLinks, []string{"/a", "/b"}) {
		t.Fatalf("ConfiguredIndex() = %+v, %v", got, err)
	}
}

func TestIndexNeverShowsCredentials(t *testing.T) {
	cleanConfig(t)
	t.Setenv("PIP_INDEX_URL", "https://me:s3cret@index.test/simple/")
	got, err := ConfiguredIndex()
	if err != nil || !strings.Contains(got.URL, "s3cret") {
		t.Fatalf("ConfiguredIndex() = %q, %v: it must keep the credentials", got.URL, err)
	}
	if got.String() != "https://index.test/simple" {
		t.Fatalf("String() = %q", got)
	}
	for _, bad := range []string{"ftp://me:s3cret@index.test", "https://me:s3cret@in dex.test/%zz", "me:s3cret@index"} {
		t.Setenv("PIP_INDEX_URL", bad)
		if _, err := ConfiguredIndex(); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "PIP_INDEX_URL") {
			t.Errorf("PIP_INDEX_URL=%s: %v", bad, err)
		}
	}
}

func FuzzParsePipConfig(f *testing.F) {
	f.Add("[global]\nindex-url = https://x\n  y\n[install]\n= z\n:\n]\n[")
	f.Add(" a\n[global]\n b = c\n")
	f.Fuzz(func(t *testing.T, text string) {
		parsePipConfig(text, map[string]map[string]string{"global": {}, "install": {}})
	})
}

// TestNoHome has the home of an account that has none, as daemons do.
func TestNoHome(t *testing.T) {
	cleanConfig(t)
	for _, home := range []string{"", os.DevNull, "/nonexistent"} {
		t.Setenv("HOME", home)
		if index, err := ConfiguredIndex(); err != nil || index.URL != defaultIndex {
			t.Errorf("home %q: %v, %v", home, index, err)
		}
	}
}
