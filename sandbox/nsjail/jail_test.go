package nsjail

import (
	"slices"
	"strings"
	"testing"

	"apibuilder/sandbox"
)

// FuzzConfig checks that no path of a Spec becomes a flag or a mount of its own: the command line does not depend on it,
// and the configuration has exactly the entries that it has with another path.
func FuzzConfig(f *testing.F) {
	f.Add("/data/envs/abc", "/usr/bin/python3.11")
	f.Add("--rw", "--keep_caps")
	f.Add("a\" rw: true } mount { src: \"/", "\\")
	f.Fuzz(func(t *testing.T, environment, python string) {
		j := jail{layout: layout{dir: "/r"}, uid: 5, limits: sandbox.DefaultLimits, environment: "/e" + environment, shown: []string{"/p" + python}}
		plain := jail{layout: j.layout, uid: 5, limits: j.limits, environment: "/e", shown: []string{"/p"}}
		if !slices.Equal(j.args([]int{3, 4}, "/x"), plain.args([]int{3, 4}, "/x")) {
			t.Errorf("the command line is %q", j.args([]int{3, 4}, "/x"))
		}
		got, want := strings.Split(j.config(), "\n"), strings.Split(plain.config(), "\n")
		if len(got) != len(want) {
			t.Fatalf("%d mounts, want %d:\n%s", len(got), len(want), j.config())
		}
		for i, line := range got {
			if strings.Count(line, `"`) != strings.Count(want[i], `"`) {
				t.Errorf("mount %s", line)
			}
		}
	})
}

func TestPolicyRefusesByDefault(t *testing.T) {
	p := Policy(true)
	if !strings.HasSuffix(p, "USE apibuilder DEFAULT ERRNO(38)\n") {
		t.Error("what is in no list is not refused")
	}
	for _, name := range []string{"mount", "ptrace", "bpf", "io_uring_setup", "keyctl", "unshare", "setns", "userfaultfd", "clone3", "sync", "syncfs"} {
		if inGroups(allowed, name) {
			t.Errorf("%s is allowed", name)
		}
	}
}

// TestPolicyOfEachArchitecture: Kafel's table of arm64 lacks names, for which no sandbox started there (scripts/test-arm64.sh runs them).
func TestPolicyOfEachArchitecture(t *testing.T) {
	for arch, names := range map[string][]string{"amd64": {"sendfile64", "pkey_alloc", "open,"}, "arm64": {"sendfile,", "SYSCALL[84]", "SYSCALL[289]"}} {
		for _, network := range []bool{false, true} {
			p := policy(arch, network)
			for _, name := range names {
				if !strings.Contains(p, name) {
					t.Errorf("%s: %s is missing", arch, name)
				}
			}
			if strings.Contains(p, "domain == 16") != network || strings.Contains(p, "NETLINK") {
				t.Errorf("%s, network %t: netlink is not what it should be", arch, network)
			}
		}
		if p := policy(arch, false); arch == "arm64" && (strings.Contains(p, "pkey_") || strings.Contains(p, "sync_file_range")) {
			t.Errorf("%s has names that Kafel does not know there", arch)
		}
	}
}

func inGroups(groups []syscallGroup, name string) bool {
	return slices.ContainsFunc(groups, func(g syscallGroup) bool {
		words := strings.FieldsFunc(g.names+", "+g.amd64, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
		return slices.Contains(words, name)
	})
}

func TestUIDPool(t *testing.T) {
	p, err := openUIDPool(UIDRange{First: 1_999_999_000, Last: 1_999_999_002})
	if err != nil {
		t.Fatal(err)
	}
	other, err := openUIDPool(p.r) // another server on this host
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	var releases []func()
	for i := range 3 {
		pool := p
		if i == 1 {
			pool = other
		}
		uid, release, err := pool.take()
		if err != nil || seen[uid] {
			t.Fatalf("user id %d again, %v", uid, err)
		}
		seen[uid] = true
		releases = append(releases, release)
	}
	if _, _, err := other.take(); err == nil {
		t.Error("a fourth user id from a range of three")
	}
	releases[0]()
	if _, release, err := other.take(); err != nil {
		t.Error(err)
	} else {
		release()
	}
	for _, release := range releases[1:] {
		release()
	}
}

func TestParseUIDRange(t *testing.T) {
	if r, err := ParseUIDRange("200000-209999"); err != nil || r.String() != "200000-209999" {
		t.Error(r, err)
	}
	for _, bad := range []string{"", "5", "0-10", "999-2000", "20-10", "2000-1000", "a-b", "1000-4294967295", "-1-5"} {
		if _, err := ParseUIDRange(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestExplainLog(t *testing.T) {
	log := "[E][2026-01-02T03:04:05+0000][12] runChild():34 Launching child process failed\n\nplain\n"
	if got := explainLog(log); got != "Launching child process failed\nplain" {
		t.Errorf("%q", got)
	}
}
