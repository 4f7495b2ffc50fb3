package cli

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apibuilder/logs"
	"apibuilder/metrics"
	"apibuilder/sandbox"
	"apibuilder/store"
)

const testAPI = "api_aaaaaaaaaaaaaaaa"

func TestWhatIsKeptOfAnAPIGoesWithIt(t *testing.T) {
	dir := t.TempDir()
	of := &server{book: logs.New(logs.Config{Dir: dir}), metrics: metrics.New("", "")}
	of.metrics.Request(store.Usage{APIID: testAPI, Status: 200})
	s := sandboxes{sandbox.NewManager(sandbox.ManagerConfig{}), of.forget}
	if err := of.book.Append(testAPI, logs.Line{Time: time.Now(), Text: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), testAPI); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, testAPI+".jsonl")); !os.IsNotExist(err) {
		t.Fatalf("error %v", err)
	}
	w := httptest.NewRecorder()
	of.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || strings.Contains(w.Body.String(), testAPI) {
		t.Errorf("%d: its counts are still there", w.Code)
	}
}
