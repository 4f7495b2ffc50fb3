package netstack_test

import (
	"testing"
	"time"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
)

// TestNameServersThatAreAway has programs find names by the host's third name server while those before say nothing, and wait for a slow one
// where there is no other.
func TestNameServersThatAreAway(t *testing.T) {
	var nothing struct{}
	if !nettest.Isolated(t, &nothing, func() {}) {
		return
	}
	w := nettest.NewWorld(t, "93.184.216.34/32", "9.9.9.9/32", "8.8.4.4/32", "8.8.8.8/32")
	go nettest.Echo(w.Listen("93.184.216.34:443"))
	for _, silent := range []string{"8.8.4.4:53", "8.8.8.8:53"} {
		w.ListenPacket(silent)
	}
	names := nettest.NewNames(w, "9.9.9.9:53", map[string][]string{"a.example.com": {"93.184.216.34"}})
	cfg := egress.Config{Ceiling: &egress.Ceiling{Most: parse(t, "internet")}}
	for _, c := range []struct {
		name    string
		servers []string
		slow    time.Duration
	}{
		{"a slow one", []string{"9.9.9.9"}, 3 * time.Second}, // twice, after which a change of the servers is looked for
		{"the third", []string{"8.8.4.4", "8.8.8.8", "9.9.9.9"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			nettest.NameServers(t, c.servers...)
			names.Delay(c.slow)
			in := enter(t, cfg, "internet")
			began := time.Now()
			found, err := in.resolver().LookupHost(t.Context(), "a.example.com.")
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			t.Logf("found after %v", time.Since(began))
			ping(t, mustConnect(t, in, found[0]))
		})
	}
}
