package endtoend

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browse has a browser at an address until the test ends.
func browse(t *testing.T, url string) {
	t.Helper()
	cmd := exec.Command("chromium", chromiumFlags(t, url)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs chromium: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

func chromiumFlags(t *testing.T, args ...string) []string {
	return append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--no-first-run", "--user-data-dir=" + t.TempDir(),
	}, args...)
}

// intrude has the browser open the intruder's page, and returns what that found out.
func intrude(t *testing.T, d deployed, page string) map[string]string {
	t.Helper()
	browse(t, page)
	a := call(t, http.MethodGet, d.URL+"/found", "", nil)
	var got map[string]string
	if err := json.Unmarshal(a.body, &got); err != nil || len(got) == 0 {
		t.Fatalf("status %d, %s: %v", a.status, a.body, err)
	}
	return got
}

// TestPagesOfOneOrigin has a browser open an intruder's page below /run, and shows that it reaches nothing of another API's,
// that documentation and calls with a key work there, and that the same page has all it wants at a host name of its own.
func TestPagesOfOneOrigin(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example", "--apps-domain", "apps.localhost")
	intruder := s.deploy("intruder", sample(t, "pages/intruder.py"), "fastapi", "--public")
	victim := s.deploy("victim", sample(t, "pages/victim.py"), "fastapi-offline==1.7.7", "--public-docs",
		"--set", "public-paths=GET /page, GET /static-offline-docs/*")

	got := intrude(t, intruder, intruder.URL+"/?victim="+strings.TrimPrefix(victim.URL, s.url)+"&key="+victim.Key)
	for name, want := range map[string]string{
		"origin": "null", "cookie": "refused: SecurityError", "storage": "refused: SecurityError", "worker": "refused: ",
		"own": `200 "mine"`, "own, posted": `200 "mine"`, "frame": "refused: TypeError", "secret": "401 ",
		"secret, with cookies": "refused: TypeError", "secret, with its key": `200 "the secret"`,
	} {
		if !strings.HasPrefix(got[name], want) {
			t.Errorf("below /run: %s: %q, want %q", name, got[name], want)
		}
	}

	got = intrude(t, intruder, intruder.URL+"/disguised")
	for name, want := range map[string]string{"origin": "null", "cookie": "refused: SecurityError"} {
		if got[name] != want {
			t.Errorf("in disguise: %s: %q, want %q", name, got[name], want)
		}
	}

	_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
	got = intrude(t, intruder, "http://intruder.apps.localhost:"+port+"/")
	for name, want := range map[string]string{
		"origin": "http://intruder.apps.localhost:" + port, "cookie": "a=1", "storage": "1", "worker": "null", "own": `200 "mine"`,
	} {
		if got[name] != want {
			t.Errorf("at a host name: %s: %q, want %q", name, got[name], want)
		}
	}

	for _, page := range []string{victim.URL + "/docs", "http://victim.apps.localhost:" + port + "/docs"} {
		cmd := exec.CommandContext(t.Context(), "chromium", chromiumFlags(t, "--virtual-time-budget=20000", "--timeout=20000", "--dump-dom", page)...)
		cmd.WaitDelay = time.Second
		dom, err := cmd.Output()
		if err != nil || !strings.Contains(string(dom), "operations-default-secret_secret_get") {
			t.Errorf("%s: the documentation shows no operation: %v\n%.2000s", page, err, dom)
		}
	}
}
