package selftest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/pagetest"
)

func TestTheCatalogueIsWhole(t *testing.T) {
	all := Checks()
	if len(all) < 60 {
		t.Errorf("%d checks, want at least 60", len(all))
	}
	seen := map[string]bool{}
	for _, c := range all {
		group, _, _ := strings.Cut(c.ID, ".")
		if seen[c.ID] || group != string(c.Group) || !slices.Contains(Groups, c.Group) || c.Tried == "" || c.Stops == "" {
			t.Errorf("%+v is twice there or not whole", c)
		}
		seen[c.ID] = true
	}
}

// TestEveryProbeIsJudged finds probes that no check asks for.
func TestEveryProbeIsJudged(t *testing.T) {
	code, err := source([]string{"kernel", "privilege", "reach", "limits", "outside"})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, c := range Checks() {
		ids[c.ID] = true
	}
	registered := regexp.MustCompile(`(?m)^(?:@probe|calls|network)\("([^"]+)"`).FindAllStringSubmatch(code, -1)
	if len(registered) < 60 {
		t.Fatalf("%d probes are found", len(registered))
	}
	for _, m := range registered {
		if !ids[m[1]] {
			t.Errorf("no check judges the probe %s", m[1])
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		only []string
		want string
	}{
		{[]string{"kernel.bpf"}, "kernel.bpf"},
		{[]string{"reach.names", "kernel.bpf", "kernel.bpf"}, "kernel.bpf reach.names"},
	} {
		chosen, err := choose(c.only)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, c := range chosen {
			ids = append(ids, c.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%v chooses %s, want %s", c.only, got, c.want)
		}
	}
	for _, group := range Groups {
		if chosen, err := choose([]string{string(group)}); err != nil || len(chosen) < 5 {
			t.Errorf("group %s: %d checks, %v", group, len(chosen), err)
		}
	}
	for _, word := range []string{"", "kernel.", "kernel.nothing", "KERNEL"} {
		if _, err := choose([]string{"kernel.bpf", word}); err == nil || !strings.Contains(err.Error(), "resources, kernel, reach, control") {
			t.Errorf("%q: %v", word, err)
		}
	}
}

// TestAProbeThatDidNotRunFails is about what must never pass.
func TestAProbeThatDidNotRunFails(t *testing.T) {
	r := &run{}
	for name, c := range map[string]struct {
		seen seen
		want Verdict
	}{
		"nothing":             {nil, Fail},
		"empty":               {seen{}, Fail},
		"refused":             {seen{"a": "EPERM"}, Pass},
		"allowed":             {seen{"a": "EPERM", "b": "allowed"}, Fail},
		"another error":       {seen{"a": "EFAULT"}, Fail},
		"the probe was ended": {seen{"the probe": "SIGKILL"}, Fail},
		"elsewhere":           {seen{"a": "not applicable"}, NotApplicable},
		"in part elsewhere":   {seen{"a": "not applicable", "b": "allowed"}, Fail},
	} {
		if f := r.judge(c.seen, refused("EPERM")); f.verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", name, f.verdict, f.detail, c.want)
		}
	}
}

func TestLatency(t *testing.T) {
	start := time.Now()
	v := &victim{}
	for i := range 100 {
		v.samples = append(v.samples, sample{start.Add(time.Duration(i) * time.Second), time.Duration(i+1) * time.Millisecond, i == 99})
	}
	all := v.latency(start, start.Add(time.Hour))
	if all != (Latency{Requests: 100, Errors: 1, P50Seconds: 0.050, P99Seconds: 0.099}) {
		t.Errorf("%+v", all)
	}
	if some := v.latency(start.Add(9500*time.Millisecond), start.Add(10500*time.Millisecond)); some.Requests != 1 || some.P50Seconds != 0.011 {
		t.Errorf("%+v", some)
	}
	if none := v.latency(start.Add(time.Hour), start.Add(2*time.Hour)); none != (Latency{}) {
		t.Errorf("%+v", none)
	}
}

// TestDocs holds the list in the documentation to the catalogue; -update writes it.
func TestDocs(t *testing.T) {
	const heading = "## The checks\n"
	var list strings.Builder
	list.WriteString(heading)
	for _, group := range Groups {
		fmt.Fprintf(&list, "\n### %s\n| id | what is tried | what stops it |\n|---|---|---|\n", group)
		for _, c := range Checks() {
			if c.Group == group {
				fmt.Fprintf(&list, "| `%s` | %s | %s |\n", c.ID, c.Tried, c.Stops)
			}
		}
	}
	pagetest.EndsWith(t, "../../docs/sandbox-test.md", heading, list.String())
}
