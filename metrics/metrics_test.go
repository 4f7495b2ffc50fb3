package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// page is what a scrape gets.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %v\n%s", w.Code, err, body)
	}
	return string(body)
}

func wantLines(t *testing.T, page string, lines ...string) {
	t.Helper()
	have := strings.Split(page, "\n")
	for _, line := range lines {
		if !slices.Contains(have, line) {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("no line %s; there are\n%s", line, strings.Join(slices.DeleteFunc(slices.Clone(have), func(s string) bool {
				return !strings.HasPrefix(s, name)
			}), "\n"))
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	m := New("1.2.3", "abc")
	m.Request(store.Usage{APIID: "api_a", Status: 200, BytesIn: 10, BytesOut: 20, Duration: 3 * time.Millisecond})
	m.Request(store.Usage{APIID: "api_a", Status: 204, Duration: time.Hour, StartWait: 20 * time.Millisecond})
	m.Request(store.Usage{APIID: "api_a", Status: 502, Error: "out_of_memory"})
	m.Request(store.Usage{APIID: "api_b", Status: 999})
	m.Request(store.Usage{APIID: "api_b", Status: -7})
	wantLines(t, page(t, m),
		`apibuilder_requests_total{api="api_a",status="2xx"} 2`,
		`apibuilder_requests_total{api="api_a",status="5xx"} 1`,
		`apibuilder_requests_total{api="api_b",status="other"} 2`,
		`apibuilder_request_errors_total{api="api_a",type="out_of_memory"} 1`,
		`apibuilder_request_bytes_total{api="api_a",direction="in"} 10`,
		`apibuilder_request_bytes_total{api="api_a",direction="out"} 20`,
		`apibuilder_request_duration_seconds_bucket{api="api_a",le="0.005"} 2`,
		`apibuilder_request_duration_seconds_bucket{api="api_a",le="+Inf"} 3`,
		`apibuilder_request_start_wait_seconds_count 1`,
		`apibuilder_build_info{commit="abc",version="1.2.3"} 1`,
	)
}

func TestExitsAndDeploysAreCounted(t *testing.T) {
	m := New("", "")
	m.Exit(sandbox.Exit{API: "api_a", Reason: sandbox.OutOfMemory})
	m.Deployed(2*time.Second, 200*time.Millisecond)
	m.DeployFailed("import_error")
	wantLines(t, page(t, m),
		`apibuilder_sandbox_exits_total{api="api_a",reason="out_of_memory"} 1`,
		`apibuilder_deploys_total{result="ok"} 1`,
		`apibuilder_deploys_total{result="import_error"} 1`,
		`apibuilder_deploy_build_seconds_sum 2`,
		`apibuilder_deploy_start_seconds_sum 0.2`,
	)
}

// TestLabelsAreBounded shows that authors cannot fill the server's memory with APIs.
func TestLabelsAreBounded(t *testing.T) {
	m := New("", "")
	for i := range MaxAPIs + 10 {
		m.Request(store.Usage{APIID: fmt.Sprintf("api_%d", i), Status: 200})
	}
	wantLines(t, page(t, m),
		`apibuilder_requests_total{api="api_0",status="2xx"} 1`,
		`apibuilder_requests_total{api="other",status="2xx"} 10`,
	)
	m.Forget("api_0")
	if strings.Contains(page(t, m), `"api_0"`) {
		t.Error("a deleted API has series")
	}
	m.Request(store.Usage{APIID: "api_new", Status: 200})
	wantLines(t, page(t, m), `apibuilder_requests_total{api="api_new",status="2xx"} 1`)
}

// A request that ends after its API was deleted, and a sandbox that does, give that API no series again, which would stay for ever in a
// place that a new one needs.
func TestADeletedAPIHasNoSeriesAgain(t *testing.T) { synctest.Test(t, testADeletedAPIHasNoSeriesAgain) }

func testADeletedAPIHasNoSeriesAgain(t *testing.T) {
	m := New("", "")
	m.Request(store.Usage{APIID: "api_a", Status: 200})
	found := m.of("api_a") // by a request that goes on while its API is forgotten
	m.Forget("api_a")
	m.Forget("api_b") // nobody has called it before
	m.fail(m.errors, found, "crashed")
	for _, id := range []string{"api_a", "api_b"} {
		m.Request(store.Usage{APIID: id, Status: 502, Error: "crashed"})
		m.Exit(sandbox.Exit{API: id, Reason: sandbox.Draining})
	}
	if text := page(t, m); strings.Contains(text, `"api_a"`) || strings.Contains(text, `"api_b"`) {
		t.Error("a deleted API has series")
	}
	wantLines(t, page(t, m),
		`apibuilder_requests_total{api="other",status="5xx"} 2`,
		`apibuilder_request_errors_total{api="other",type="crashed"} 3`,
		`apibuilder_sandbox_exits_total{api="other",reason="draining"} 2`,
	)
	time.Sleep(goneFor)
	m.Request(store.Usage{APIID: "api_a", Status: 200})
	wantLines(t, page(t, m), `apibuilder_requests_total{api="api_a",status="2xx"} 1`)
	for i := range mostGone + 10 {
		m.Forget(fmt.Sprintf("api_%d", i))
	}
	if len(m.gone) > mostGone {
		t.Errorf("%d deleted APIs are remembered", len(m.gone))
	}
}

func TestStateIsAskedFor(t *testing.T) {
	m := New("", "")
	m.Watch(State{
		Running: func(each func(Sandbox)) {
			each(Sandbox{API: "api_a", InFlight: 2, MemoryBytes: 100, CPUSeconds: 1.5})
			each(Sandbox{API: "api_a", InFlight: 1, MemoryBytes: 50, ThrottledSeconds: 2})
		},
		Name:         func(string) string { return "resize" },
		Warm:         func() int { return 3 },
		Pending:      func() int64 { return 4 },
		JournalBytes: func() int64 { return 5 },
		Database:     func() bool { return true },
	})
	wantLines(t, page(t, m),
		`apibuilder_sandboxes{api="api_a"} 2`,
		`apibuilder_requests_in_flight{api="api_a"} 3`,
		`apibuilder_sandbox_memory_bytes{api="api_a"} 150`,
		`apibuilder_sandbox_cpu_seconds{api="api_a"} 1.5`,
		`apibuilder_sandbox_throttled_seconds{api="api_a"} 2`,
		`apibuilder_api_info{api="api_a",name="resize"} 1`,
		`apibuilder_warm_sandboxes 3`,
		`apibuilder_usage_pending_records 4`,
		`apibuilder_usage_journal_bytes 5`,
		`apibuilder_database_up 1`,
	)
	if problems, err := testutil.GatherAndLint(m.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

type recorder struct{ err error }

func (r recorder) Record(store.Usage) error { return r.err }

func TestJournalPassesOn(t *testing.T) {
	m := New("", "")
	want := errors.New("disk full")
	if err := m.Journal(recorder{want}).Record(store.Usage{APIID: "api_a", Status: 200}); !errors.Is(err, want) {
		t.Errorf("Record: %v", err)
	}
	wantLines(t, page(t, m), `apibuilder_requests_total{api="api_a",status="2xx"} 1`, `apibuilder_usage_lost_records_total 1`)
	if err := m.Journal(recorder{}).Record(store.Usage{APIID: "api_a", Status: 200}); err != nil {
		t.Error(err)
	}
	wantLines(t, page(t, m), `apibuilder_usage_lost_records_total 1`)
}

func BenchmarkRequest(b *testing.B) {
	m := New("", "")
	u := store.Usage{APIID: "api_a", Status: 200, Duration: 3 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Request(u)
	}
}

// TestMonitoringNamesWhatThereIs reads the alert rules, the dashboard and the documentation.
func TestMonitoringNamesWhatThereIs(t *testing.T) {
	m := New("", "")
	m.Request(store.Usage{APIID: "api_a", Status: 502, Error: "no_room", StartWait: 1})
	m.Exit(sandbox.Exit{API: "api_a", Reason: sandbox.Crashed})
	m.Deployed(1, 1)
	zero := func() int64 { return 0 }
	m.Watch(State{
		Running: func(each func(Sandbox)) { each(Sandbox{API: "api_a"}) }, Name: func(string) string { return "a" },
		Egress: func(each func(Egress)) { each(Egress{API: "api_a", Destinations: []Destination{{To: "x:443"}}}) },
		Warm:   func() int { return 0 }, Pending: zero, JournalBytes: zero, Database: func() bool { return true },
	})
	there := page(t, m)
	used := regexp.MustCompile(`apibuilder_[a-z_]+`)
	for _, path := range []string{"../docs/monitoring/alerts.yml", "../docs/monitoring/dashboard.json", "../docs/metrics.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names := used.FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", path)
		}
		for _, name := range names {
			if !strings.Contains(there, "\n"+name+" ") && !strings.Contains(there, "\n"+name+"{") && !strings.Contains(there, "# TYPE "+name+" ") {
				t.Errorf("%s names %s, which there is not", path, name)
			}
		}
	}
	documented, _ := os.ReadFile("../docs/metrics.md")
	for _, line := range regexp.MustCompile(`(?m)^# TYPE (apibuilder_\w+) `).FindAllStringSubmatch(there, -1) {
		if !strings.Contains(string(documented), "`"+line[1]) {
			t.Errorf("docs/metrics.md does not name %s", line[1])
		}
	}
}
