package nsjail

import (
	"encoding/hex"
	"errors"
	"slices"
	"syscall"
	"testing"

	"apibuilder/sandbox"
)

func TestParseAuditStatus(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		pid    int
		err    error
	}{
		"auditd":      {"3c000000e8030000010000000000000000000000010000000100000039300000000000004000000000000000000000007f000000983a000049000000", 12345, nil},
		"nobody":      {"3c000000e8030000010000000000000000000000000000000100000000000000000000004000000000000000000000007f000000983a000049000000", 0, nil},
		"a container": {"24000000020000000000000000000000ffffffff10000000e80301000000000000000000", 0, syscall.EPERM},
	} {
		answer, err := hex.DecodeString(c.answer)
		if err != nil {
			t.Fatal(name, err)
		}
		if pid, err := parseAuditStatus(answer); pid != c.pid || !errors.Is(err, c.err) {
			t.Errorf("%s: process %d, %v", name, pid, err)
		}
	}
	for _, answer := range []string{"", "\x10\x00\x00\x00", "\x14\x00\x00\x00\xe8\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if pid, err := parseAuditStatus([]byte(answer)); err == nil {
			t.Errorf("%q: process %d", answer, pid)
		}
	}
}

// TestRefusedCallsAreNoRecordsOfAuditd wants a flood of refused calls to be none of records where nothing bounds their rate.
func TestRefusedCallsAreNoRecordsOfAuditd(t *testing.T) {
	for _, audited := range []bool{false, true} {
		args := jail{limits: sandbox.DefaultLimits, audited: audited}.args(nil, "/x")
		if slices.Contains(args, "--seccomp_log") == audited {
			t.Errorf("with auditd %t: %q", audited, args)
		}
	}
}

// TestThisKernelSaysWhoTakesAuditRecords reads the real answer, on a machine where it may be asked for.
func TestThisKernelSaysWhoTakesAuditRecords(t *testing.T) {
	pid, err := Auditd()
	refused := errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPROTONOSUPPORT)
	if err != nil && !refused {
		t.Error(err)
	}
	t.Logf("process %d, %v", pid, err)
}

func BenchmarkAuditd(b *testing.B) {
	for b.Loop() {
		_, _ = Auditd()
	}
}
