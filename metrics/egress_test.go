package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// watched is a Metrics that is told of egress.
func watched(tell func(each func(Egress))) *Metrics {
	m := New("", "")
	m.Watch(State{
		Running: func(func(Sandbox)) {}, Egress: tell, Name: func(string) string { return "" }, Warm: func() int { return 0 },
		Pending: func() int64 { return 0 }, JournalBytes: func() int64 { return 0 }, Database: func() bool { return true },
	})
	return m
}

func TestEgressIsCounted(t *testing.T) {
	m := watched(func(each func(Egress)) {
		each(Egress{API: "api_a", Open: 2, Destinations: []Destination{{"db.example.com:5432", 3, 10, 20, 0}, {"169.254.169.254:80", 0, 0, 0, 7}}})
		each(Egress{API: "api_quiet"})
	})
	text := page(t, m)
	wantLines(t, text,
		`apibuilder_egress_open_connections{api="api_a"} 2`,
		`apibuilder_egress_connections_total{api="api_a",destination="db.example.com:5432"} 3`,
		`apibuilder_egress_bytes_total{api="api_a",destination="db.example.com:5432",direction="sent"} 10`,
		`apibuilder_egress_bytes_total{api="api_a",destination="db.example.com:5432",direction="received"} 20`,
		`apibuilder_egress_refused_total{api="api_a",destination="169.254.169.254:80"} 7`,
	)
	if strings.Contains(text, "api_quiet") {
		t.Error("an API that tried nothing has series")
	}
	if problems, err := testutil.GatherAndLint(m.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

// TestEgressLabelsAreBounded has many programs try many destinations, some of them no text, and looks that no counter falls when
// others come, and that a deleted API's place is free again.
func TestEgressLabelsAreBounded(t *testing.T) {
	const apis = maxAllDestinations/maxDestinations + 50
	tried := 2 * maxDestinations
	m := watched(func(each func(Egress)) {
		for a := range apis {
			e := Egress{API: fmt.Sprintf("api_%03d", a)}
			for d := range tried {
				e.Destinations = append(e.Destinations, Destination{To: fmt.Sprintf("\xff%d:443", d), Refused: 1})
			}
			each(e)
		}
	})
	first := page(t, m)
	if n := strings.Count(first, "apibuilder_egress_refused_total{"); n > maxAllDestinations+apis {
		t.Errorf("%d series", n)
	}
	wantLines(t, first,
		`apibuilder_egress_refused_total{api="api_000",destination="?0:443"} 1`,
		fmt.Sprintf(`apibuilder_egress_refused_total{api="api_000",destination="others"} %d`, maxDestinations),
		fmt.Sprintf(`apibuilder_egress_refused_total{api="api_%03d",destination="others"} %d`, apis-1, 2*maxDestinations),
	)
	tried++
	wantLines(t, page(t, m),
		`apibuilder_egress_refused_total{api="api_000",destination="?0:443"} 1`,
		fmt.Sprintf(`apibuilder_egress_refused_total{api="api_000",destination="others"} %d`, maxDestinations+1),
	)
	m.Forget("api_001")
	if m.destinations.count != maxAllDestinations-maxDestinations || m.destinations.known["api_001"] != nil {
		t.Errorf("%d places are taken after an API was deleted", m.destinations.count)
	}
}
