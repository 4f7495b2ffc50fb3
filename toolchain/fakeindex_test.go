package toolchain

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

const script = "#!/bin/sh\necho fake 1.0\n"

// fakePin is a tool of two files in a wheel, and the wheel. extra members are put first.
func fakePin(t *testing.T, extra ...string) (pin, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range append(extra, "fake/bin/fake", "fake.libs/lib.so", "fake-1.dist-info/RECORD") {
		m, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = m.Write([]byte(script))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	wheel := b.Bytes()
	sum, size := sum256([]byte(script)), int64(len(script))
	return pin{
		tool: "fake", version: "1.0", project: "fake", wheel: "fake-1.0-py3-none-any.whl",
		sha256: sum256(wheel), size: int64(len(wheel)), exe: "fake/bin/fake", probe: "--version",
		files: []file{inPlace("fake/bin/fake", size, sum), inPlace("fake.libs/lib.so", size, sum)},
	}, wheel
}

// fakeIndex serves one wheel, as the simple API in HTML or JSON with relative addresses.
type fakeIndex struct {
	pin     pin
	wheel   []byte
	asJSON  bool
	sha256  string // what the page claims
	user    string // "name:password" to demand
	broken  atomic.Int32
	fetched atomic.Int32
	wait    chan struct{} // when not nil: the wheel is sent after it is closed
	asked   chan struct{} // when not nil: told about every request for the wheel
}

func (x *fakeIndex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); x.user != "" && user+":"+password != x.user {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/simple/fake/":
		x.page(w)
	case "/files/" + x.pin.wheel:
		x.fetched.Add(1)
		if x.asked != nil {
			x.asked <- struct{}{}
		}
		if x.wait != nil {
			<-x.wait
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(x.wheel)))
		if x.broken.Add(-1) >= 0 {
			_, _ = w.Write(x.wheel[:len(x.wheel)/2])
			return
		}
		_, _ = w.Write(x.wheel)
	default:
		http.NotFound(w, r)
	}
}

func (x *fakeIndex) page(w http.ResponseWriter) {
	if x.asJSON {
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		_ = json.NewEncoder(w).Encode(map[string]any{"files": []any{
			map[string]any{"filename": "fake-0.9.tar.gz", "url": "../../files/fake-0.9.tar.gz", "hashes": map[string]string{}},
			map[string]any{"filename": x.pin.wheel, "url": "../../files/" + x.pin.wheel, "hashes": map[string]string{"sha256": x.sha256}},
		}})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><html><body><a href=\"../../files/fake-0.9.tar.gz\">old</a>\n"+
		"<A data-requires-python=\"&gt;=3\"\n HREF='../../files/%s#sha256=%s'>%s</A></body></html>", x.pin.wheel, x.sha256, x.pin.wheel)
}

func newFakeIndex(t *testing.T, extra ...string) *fakeIndex {
	t.Helper()
	cleanConfig(t)
	p, wheel := fakePin(t, extra...)
	x := &fakeIndex{pin: p, wheel: wheel, sha256: p.sha256}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	address := server.URL + "/simple/"
	t.Setenv("PIP_INDEX_URL", address)
	return x
}
