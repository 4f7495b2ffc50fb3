package pythonenv

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"apibuilder/egress"
)

// TestOnlyProjectPagesOfAnIndexAreReached is about the operator's credentials, which go with every request to the host of the
// index: a build must not be able to choose another path there.
func TestOnlyProjectPagesOfAnIndexAreReached(t *testing.T) {
	up, err := newUpstream(Config{IndexURL: "https://operator:s3cret@index.example/root/simple"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	base := mirrorURL + "/i/" + idOf(up.indexes[0]) + "/"
	for path, want := range map[string]string{
		"six/": "/root/simple/six/", "zope.interface": "/root/simple/zope.interface",
		"../": "", "..": "", "./": "", "": "", "six/../../admin": "", "%2e%2e/": "", "a/b/": "", "a%2fb": "", "six/?x=y#z": "/root/simple/six/",
	} {
		address, err := url.Parse(base + path)
		if err != nil {
			t.Fatal(err)
		}
		target, page, err := up.target(address)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q leads to %s", path, target.Redacted())
		case want != "" && (err != nil || !page || target.Path != want || target.Host != "index.example"):
			t.Errorf("%q leads to %v, %v", path, target, err)
		}
	}
}

// TestAddressesInsideAreRefused has an index lead to addresses that nobody outside should choose.
func TestAddressesInsideAreRefused(t *testing.T) {
	up, err := newUpstream(Config{IndexURL: "https://127.0.0.9:9/simple"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer up.close()
	for _, inside := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.1.2.3", "224.0.0.1", "255.255.255.255",
		"198.18.0.1", "168.63.129.16", "::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"64:ff9b::7f00:1", "2002:7f00:1::",
	} {
		conn, err := up.dial(t.Context(), "tcp", net.JoinHostPort(inside, "443"))
		if r, ok := errors.AsType[*egress.Refusal](err); !ok || conn != nil {
			t.Errorf("%s: %v, %v, %v", inside, conn, r, err)
		}
	}
	// What the operator named may be anywhere.
	conn, err := up.dial(t.Context(), "tcp", "127.0.0.9:9")
	if !errors.Is(err, syscall.ECONNREFUSED) || conn != nil {
		t.Errorf("the index itself: %v, %v", conn, err)
	}
}

// TestConnectionsOfBuildsAreCounted connects to an index that the operator named.
func TestConnectionsOfBuildsAreCounted(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	up, err := newUpstream(Config{IndexURL: "http://" + address + "/simple"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := up.dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("four")); err != nil {
		t.Fatal(err)
	}
	if r := up.gate.Report(Egress); r.Open != 1 || r.Sent != 4 || len(r.Destinations) != 1 || r.Destinations[0].To != address {
		t.Errorf("%+v", r)
	}
	up.close()
	if _, err := conn.Write([]byte("more")); err == nil {
		t.Error("a connection outlives the builder")
	}
	_ = conn.Close()
	if r := up.gate.Report(Egress); r.Open != 0 {
		t.Errorf("%+v", r)
	}
}

// TestABrokenAnswerDoesNotLookWhole has an index end an answer without a length in its middle.
func TestABrokenAnswerDoesNotLookWhole(t *testing.T) {
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Metadata-Version: 2.1\nName: six\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer index.Close()
	up, err := newUpstream(Config{IndexURL: index.URL + "/simple"}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer up.close()
	local := httptest.NewServer(&mirror{up: up, max: 1 << 20, exceed: func() {}, say: func(l string) { t.Log(l) }})
	defer local.Close()
	file, err := url.Parse(index.URL + "/six-1.0-py3-none-any.whl.metadata")
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(local.URL + strings.TrimPrefix(up.fileURL(file), mirrorURL))
	if err != nil { // nothing of it was passed on yet
		return
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err == nil {
		t.Errorf("status %d, %q", response.StatusCode, text)
	}
}
