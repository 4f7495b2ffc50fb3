package selftest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"apibuilder/egress"
)

// TestADecision tells a refusal of the gate from what only looks like one.
func TestADecision(t *testing.T) {
	r := &run{cfg: Config{Network: NewNetwork(&egress.Ceiling{Most: public})}}
	for _, refusal := range []egress.Refusal{
		{Reason: egress.Never, What: "10.0.0.1:80"},
		{Reason: egress.Never, What: "[fd00::1]:80"},
		{Reason: egress.Never, What: "box.example:80"},
		{Reason: egress.TooFast, What: "10.0.0.2:80"},
	} {
		r.cfg.Network.remember(&refusal)
	}
	for target, want := range map[string]Verdict{
		"10.0.0.1:80":          Pass,
		"[::ffff:10.0.0.1]:80": Pass, // the kernel makes one of the other
		"[fd00:0::1]:80":       Pass,
		"Box.example:80":       Pass,
		"10.0.0.1:443":         Fail,
		"10.0.0.2:80":          Fail, // for another reason
		"10.0.0.3:80":          Fail,
	} {
		if f := r.judge(seen{target: econnrefused}, decided(egress.Never)); f.verdict != want {
			t.Errorf("%s: %s (%s), want %s", target, f.verdict, f.detail, want)
		}
	}
	for _, came := range []string{allowed, "ETIMEDOUT", "ENETUNREACH", "EAFNOSUPPORT"} {
		if f := r.judge(seen{"10.0.0.1:80": came}, decided(egress.Never)); f.verdict != Fail {
			t.Errorf("%s: %s", came, f.verdict)
		}
	}
	r.cfg.Network.forget()
	if f := r.judge(seen{"10.0.0.1:80": econnrefused}, decided(egress.Never)); f.verdict != Fail {
		t.Errorf("what was decided before counts: %s", f.detail)
	}
}

// TestOwnNamesThatLeadNowhere are left out, but not all names may.
func TestOwnNamesThatLeadNowhere(t *testing.T) {
	r := &run{cfg: Config{Network: NewNetwork(&egress.Ceiling{Most: public})}}
	trap := "loopback" + trapDomain + ":80"
	r.cfg.Network.remember(&egress.Refusal{Reason: egress.Never, What: trap})
	if f := r.judge(seen{"box:80": "no address", trap: econnrefused}, loopbackOffences); f.verdict != Pass {
		t.Errorf("%s (%s)", f.verdict, f.detail)
	}
	if f := r.judge(seen{"box:80": "no address", trap: "no address"}, loopbackOffences); f.verdict != Fail {
		t.Errorf("%s (%s)", f.verdict, f.detail)
	}
}

// TestTraps looks every name up that programs are told.
func TestTraps(t *testing.T) {
	n := NewNetwork(&egress.Ceiling{})
	look := func(name string) egress.Class {
		found, err := n.LookupNetIP(t.Context(), "ip", name+".")
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", name, found, err)
		}
		return egress.Classify(found[0])
	}
	b, err := layBait()
	if err != nil {
		t.Fatal(err)
	}
	defer b.takeAway()
	if !slices.Contains(b.names.Traps, turningTrap+trapDomain) || look(turningTrap+trapDomain) != egress.Public {
		t.Error("the name that turns is not public at first")
	}
	for _, name := range slices.Concat(b.names.Traps, b.names.LoopbackTraps) {
		if class := look(name); class == egress.Public || (class == egress.Loopback) != slices.Contains(b.names.LoopbackTraps, name) {
			t.Errorf("%s is %s", name, class)
		}
	}
	if found, err := n.LookupNetIP(t.Context(), "ip", "other"+trapDomain+"."); err == nil {
		t.Errorf("a name that is no trap leads to %v", found)
	}
}

// TestWithoutANetwork wants nothing said of what this machine cannot make.
func TestWithoutANetwork(t *testing.T) {
	var n int
	for _, c := range catalogue() {
		if !strings.Contains(c.ID, ".egress_") {
			continue
		}
		n++
		if f := c.judge(context.Background(), &run{}); f.verdict != NotApplicable || f.detail == "" {
			t.Errorf("%s: %s (%s)", c.ID, f.verdict, f.detail)
		}
	}
	if n < 80 {
		t.Errorf("%d checks are about a network", n)
	}
}
