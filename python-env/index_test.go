package pythonenv

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// release of a package in an index that a test serves.
type packaged struct {
	name, version  string
	tag            string // "py3-none-any" if empty; "sdist" for a source distribution
	requires       []string
	requiresPython string
	announced      string // hash that the index tells, when it is not the file's
}

// file is its name and content.
func (p packaged) file() (string, []byte) {
	tag := p.tag
	if tag == "" {
		tag = "py3-none-any"
	}
	if tag == "sdist" {
		return p.name + "-" + p.version + ".tar.gz", []byte("not an archive")
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := p.name + "-" + p.version + ".dist-info/"
	metadata := "Metadata-Version: 2.1\nName: " + p.name + "\nVersion: " + p.version + "\n"
	for _, r := range p.requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	if p.requiresPython != "" {
		metadata += "Requires-Python: " + p.requiresPython + "\n"
	}
	for _, member := range [][2]string{
		{p.name + ".py", "x = 1\n"},
		{info + "METADATA", metadata},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: " + tag + "\n"},
		{info + "RECORD", p.name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		w, _ := z.Create(member[0])
		_, _ = w.Write([]byte(member[1]))
	}
	_ = z.Close()
	return p.name + "-" + p.version + "-" + tag + ".whl", b.Bytes()
}

// serveIndex serves a simple repository (PEP 503) of these packages and of what every program needs.
func serveIndex(t *testing.T, packages ...packaged) *httptest.Server {
	t.Helper()
	for _, r := range runtimePackages {
		packages = append(packages, packaged{name: strings.ReplaceAll(r.name, "-", "_"), version: "1.0"})
	}
	pages, files := map[string]string{}, map[string][]byte{}
	for _, p := range packages {
		name, content := p.file()
		hash := p.announced
		if hash == "" {
			hash = fmt.Sprintf("%x", sha256.Sum256(content))
		}
		files["/files/"+name] = content
		pages["/simple/"+normalise(p.name)+"/"] += fmt.Sprintf("<a href=\"/files/%s#sha256=%s\" data-requires-python=\"%s\">%s</a>\n",
			name, hash, html.EscapeString(p.requiresPython), name)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(page))
			return
		}
		if content, ok := files[r.URL.Path]; ok {
			http.ServeContent(w, r, r.URL.Path, packagedAt, bytes.NewReader(content))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// builderFor builds from that index alone.
func builderFor(t *testing.T, index string, change func(*Config)) *Builder {
	t.Helper()
	cfg := testConfig(filepath.Join(tempDir(t), "envs"))
	cfg.IndexURL, cfg.FindLinks = index, nil
	if change != nil {
		change(&cfg)
	}
	return started(t, cfg)
}

var packagedAt = time.Unix(1_700_000_000, 0)
