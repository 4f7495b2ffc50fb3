package endtoend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"apibuilder/internal/testenv"
)

// TestRealClients tries what consumers use: curl, Python's four clients and a browser.
func TestRealClients(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	private, public := deployClients(s)
	t.Run("curl", func(t *testing.T) { withCurl(t, private, "1.1") })
	t.Run("python", func(t *testing.T) { withPython(t, public, private) })
	t.Run("browser", func(t *testing.T) { withBrowser(t, public, private) })
}

// TestRealClientsOverTLS tries the same at host names of the APIs, with a certificate that the clients are told to trust. They agree on
// HTTP/2 by themselves, where they know it.
func TestRealClientsOverTLS(t *testing.T) {
	cert, key, _ := certificateFiles(t, "*.apps.test")
	s := serve(t, dataDir(t), "--no-example", "--listen-tls", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--apps-domain", "apps.test")
	private, public := deployClients(s)
	_, port, err := net.SplitHostPort(fmt.Sprint(s.ready["listen_tls"]))
	if err != nil {
		t.Fatal(err)
	}
	private.URL, public.URL = "https://closed.apps.test:"+port, "https://open.apps.test:"+port
	for _, version := range []string{"1.1", "2"} {
		t.Run("curl "+version, func(t *testing.T) {
			withCurl(t, private, version, "--cacert", cert, "--resolve", "closed.apps.test:"+port+":127.0.0.1")
		})
	}
	t.Run("python", func(t *testing.T) {
		withPython(t, public, private, "SSL_CERT_FILE="+cert, "REQUESTS_CA_BUNDLE="+cert)
	})
	t.Run("browser", func(t *testing.T) {
		withBrowser(t, public, private, "--host-resolver-rules=MAP *.apps.test 127.0.0.1", "--ignore-certificate-errors-spki-list="+keyDigest(t, cert))
	})
}

func deployClients(s *server) (private, public deployed) {
	s.t.Helper()
	code, packages := sample(s.t, "clients/app.py"), sample(s.t, "clients/requirements.txt")
	return s.deploy("closed", code, packages), s.deploy("open", code, packages, "--public")
}

// keyDigest is by what Chromium knows a certificate's key.
func keyDigest(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func withPython(t *testing.T, public, private deployed, variables ...string) {
	env := testenv.Environment(t, "httpx[http2]\nrequests\naiohttp\nwebsockets\n", "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(env.Path, "bin/python"), "-B", "testdata/clients.py", public.URL, private.URL, private.Key)
	cmd.Env = append(os.Environ(), variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// withCurl runs curl with a version of HTTP, unless a case has another, and with options.
func withCurl(t *testing.T, d deployed, version string, options ...string) {
	file := filepath.Join(t.TempDir(), "file")
	body := []byte(strings.Repeat("curl sends this ", 100_000))
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	half := filepath.Join(t.TempDir(), "half") // of a download that was cut off
	if err := os.WriteFile(half, cycle(1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"version":          {[]string{"-o", "/dev/null", "-w", "spoke %{http_version}.", d.URL + "/bytes/1"}, "spoke " + version + "."},
		"upload":           {[]string{"-T", file, d.URL + "/raw"}, digest},
		"post":             {[]string{"--data-binary", "@" + file, d.URL + "/raw"}, digest},
		"chunked":          {[]string{"-H", "Transfer-Encoding: chunked", "--data-binary", "@" + file, d.URL + "/raw"}, digest},
		"expect":           {[]string{"-H", "Expect: 100-continue", "--data-binary", "@" + file, d.URL + "/raw"}, digest},
		"form":             {[]string{"-F", "f=@" + file, "-F", "a=b", d.URL + "/form"}, digest},
		"HTTP/1.0":         {[]string{"--http1.0", "--data-binary", "@" + file, d.URL + "/raw"}, digest},
		"HTTP/2":           {[]string{"--http2-prior-knowledge", "--data-binary", "@" + file, d.URL + "/raw"}, digest},
		"redirect":         {[]string{"-L", "-o", "/dev/null", "-w", "%{size_download} %{num_redirects}", d.URL + "/moved"}, "5 1"},
		"one connection":   {[]string{"-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", d.URL + "/bytes/3", d.URL + "/bytes/3"}, "1 0"},
		"resumed download": {[]string{"-C", "-", "-o", half, "-w", "%{http_code} %{size_download} ", d.URL + "/file"}, "206 64536 "},
		"part of a file":   {[]string{"-r", "254-258", "-w", " %{http_code} %header{content-range}", d.URL + "/file"}, "\xfe\xff\x00\x01\x02 206 bytes 254-258/65536"},
		"parts of a file":  {[]string{"-r", "0-1,5-6", "-w", " %{http_code} %{content_type}", d.URL + "/file"}, " 206 multipart/byteranges; boundary="},
		"behind a file":    {[]string{"-r", "65536-", "-w", " %{http_code} %header{content-range}", d.URL + "/file"}, " 416 bytes */65536"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-sS", "--max-time", "30", "-H", "X-API-Key: " + d.Key, "--http" + version}, options...)
			out, err := exec.CommandContext(t.Context(), "curl", append(args, c.args...)...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("curl: %v: %q", err, out)
			}
		})
	}
	if got, err := os.ReadFile(half); err != nil || !bytes.Equal(got, cycle(1<<16)) {
		t.Errorf("the resumed download has %d bytes that are not the file's, %v", len(got), err)
	}
}

// cycle is so many bytes of 0, 1, 2 to 255, and again.
func cycle(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// withBrowser opens a page of another origin in headless Chromium, with options; the page posts what it found.
func withBrowser(t *testing.T, public, private deployed, options ...string) {
	found := make(chan map[string]any, 1)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/found" {
			var m map[string]any
			text, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(text, &m); err != nil {
				m = map[string]any{"error": string(text)}
			}
			found <- m
			return
		}
		http.ServeFile(w, r, "testdata/browser.html")
	}))
	defer page.Close()
	query := url.Values{"public": {public.URL}, "private": {private.URL}, "key": {private.Key}}
	cmd := exec.Command("chromium", chromiumFlags(t, append(options, page.URL+"/?"+query.Encode())...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs chromium: %v", err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	var got map[string]any
	select {
	case got = <-found:
	case <-time.After(90 * time.Second):
		t.Fatalf("the browser found nothing:\n%s", log.String())
	}
	want := map[string]any{
		"upload": true, "stream": true, "preflight": 200.0, "abort": "AbortError", "refused": 1006.0,
		"events": []any{"1:event 1", "2:event 2", "3:event 3"},
		"socket": []any{"two", "permessage-deflate", "text", 4321.0, "as asked"},
	}
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s: got %v, want %v", name, got[name], value)
		}
	}
	if got["error"] != nil {
		t.Error(fmt.Sprint(got["error"]))
	}
}
