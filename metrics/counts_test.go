package metrics

import (
	"testing"

	"apibuilder/store"
)

func TestCountsOfAnAPI(t *testing.T) {
	m := New("", "")
	for status, n := range map[int]int{200: 3, 301: 1, 404: 2, 503: 4, 999: 1} {
		for range n {
			m.Request(store.Usage{APIID: "api_a", Status: status})
		}
	}
	if got := m.Counts("api_a"); got != (Counts{11, 2, 4}) {
		t.Errorf("%+v", got)
	}
	if got := m.Counts("api_b"); got != (Counts{}) {
		t.Errorf("of one that was never called: %+v", got)
	}
	m.Forget("api_a")
	if got := m.Counts("api_a"); got != (Counts{}) {
		t.Errorf("after its deletion: %+v", got)
	}
}
