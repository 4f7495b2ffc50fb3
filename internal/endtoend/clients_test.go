package endtoend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
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
	code, packages := sample(t, "clients/app.py"), sample(t, "clients/requirements.txt")
	private := s.deploy("closed", code, packages)
	public := s.deploy("open", code, packages, "--public")
	t.Run("curl", func(t *testing.T) { withCurl(t, private) })
	t.Run("python", func(t *testing.T) {
		env := testenv.Environment(t, "httpx[http2]\nrequests\naiohttp\nwebsockets\n", "")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(env.Path, "bin/python"), "-B", "testdata/clients.py",
			public.URL, private.URL, private.Key)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
	})
	t.Run("browser", func(t *testing.T) { withBrowser(t, public, private) })
}

func withCurl(t *testing.T, d deployed) {
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
			args := append([]string{"-sS", "--max-time", "30", "-H", "X-API-Key: " + d.Key}, c.args...)
			out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
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

// withBrowser opens a page of another origin in headless Chromium; the page posts what it found.
func withBrowser(t *testing.T, public, private deployed) {
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
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--no-first-run", "--user-data-dir="+t.TempDir(), page.URL+"/?"+query.Encode())
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
