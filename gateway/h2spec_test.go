package gateway

import (
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestH2spec has h2spec check a connection's frames, and that an answer waits for them. One that begins with anything else than HTTP/2 is HTTP/1 on
// this port, and gets that one's 400.
func TestH2spec(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), filepath.Join(root, "scripts/tools.sh"), "h2spec")
	install.Dir = root
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := newDoor(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 1000))
	})
	host, port, err := net.SplitHostPort(d.addr)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.xml")
	out, _ := exec.CommandContext(t.Context(), filepath.Join(root, ".tools/h2spec"), // which fails by what is said above
		"--host", host, "--port", port, "--path", "/run/public/", "--timeout", "5", "--strict", "--junit-report", path).CombinedOutput()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			switch {
			case c.Failure == nil && c.Error == nil:
				passed++
			case c.Name != "Sends invalid connection preface":
				t.Errorf("%s: %s", suite.Package, c.Name)
			}
		}
	}
	if passed < 140 || t.Failed() {
		t.Errorf("%d passed\n%s", passed, out)
	}
}
