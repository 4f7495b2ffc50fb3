package nsjail

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseRefusal(t *testing.T) {
	const head = "5,1,2,-;audit: type=1326 audit(1.2:3): auid=4294967295 uid=77 gid=77 ses=4 pid=9 "
	native := map[bool]string{true: "c000003e", false: "c00000b7"}[nativeArch == unix.AUDIT_ARCH_X86_64]
	mount := "165"
	if native == "c00000b7" {
		mount = "40"
	}
	for name, c := range map[string]struct {
		record string
		want   refusal
		ok     bool
	}{
		"refused": {head + `comm="python" exe="/usr/bin/python3" sig=0 arch=` + native + " syscall=" + mount + " compat=0\n", refusal{77, "mount", false}, true},
		"killed":  {head + `comm="p" exe="/p" sig=31 arch=40000003 syscall=20 compat=1`, refusal{77, "20 of another architecture's table", true}, true},
		"unknown": {head + `comm="p" exe="/p" sig=0 arch=` + native + " syscall=9999", refusal{77, "number 9999", false}, true},
		"a name that looks like fields": {
			head + `comm="x uid=0 syscall=1" exe="/p" sig=0 arch=` + native + " syscall=9999", refusal{77, "number 9999", false}, true,
		},
		"a name as hex digits":   {head + `comm=2278 exe="/p" sig=0 arch=` + native + " syscall=9999", refusal{77, "number 9999", false}, true},
		"another kind of record": {"5,1,2,-;audit: type=1400 audit(1.2:3): uid=77 syscall=1 arch=c000003e", refusal{}, false},
		"somebody quoting one":   {"12,1,2,-;hello audit: type=1326 uid=77 sig=0 arch=c000003e syscall=1", refusal{}, false},
		"cut off":                {head, refusal{}, false},
		"nothing":                {"", refusal{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseRefusal([]byte(c.record)); ok != c.ok || got != c.want {
				t.Errorf("%+v, %t; want %+v, %t", got, ok, c.want, c.ok)
			}
		})
	}
}

func FuzzParseRefusal(f *testing.F) {
	f.Add([]byte(`5,1,2,-;audit: type=1326 audit(1.2:3): uid=77 comm="p" sig=0 arch=c000003e syscall=1`))
	f.Fuzz(func(t *testing.T, record []byte) {
		if r, ok := parseRefusal(record); ok && r.name == "" {
			t.Errorf("%q is a refusal of nothing", record)
		}
	})
}

func TestRefusalsAreToldOnceForEachCall(t *testing.T) {
	r := &refusals{heard: map[uint32]*hearing{}}
	var told []string
	r.watch(5, func(refused refusal) { told = append(told, refused.name) })
	for range 3 {
		r.hear(refusal{uid: 5, name: "mount"})
		r.hear(refusal{uid: 5, name: "bpf"})
		r.hear(refusal{uid: 6, name: "ptrace"})
	}
	for i := range 1000 {
		r.hear(refusal{uid: 5, name: syscallName(nativeArch, 10_000+i)})
	}
	if len(told) != maxKnown || told[0] != "mount" || told[1] != "bpf" {
		t.Errorf("told %d calls, first %v", len(told), told[:2])
	}
	r.forget(5)
	r.hear(refusal{uid: 5, name: "reboot"})
	if len(told) != maxKnown {
		t.Error("told after forget")
	}
}
