package cgroup

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeHost writes files below a root; a path that ends in a slash is a directory.
func fakeHost(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if name[len(name)-1] == '/' {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == path {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const v2Mount = "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"

func TestDescribe(t *testing.T) {
	const proc, sys = "proc/self/", "sys/fs/cgroup/"
	for name, c := range map[string]struct {
		files map[string]string
		want  Description
	}{
		"none": {
			map[string]string{proc + "mountinfo": "22 1 254:0 / / rw - ext4 /dev/vda rw\n"},
			Description{Missing: []string{"cpu", "memory", "pids"}},
		},
		"v2 from a login shell": {
			map[string]string{
				proc + "mountinfo": v2Mount, proc + "cgroup": "0::/user.slice/session-1.scope\n",
				sys + "cgroup.controllers":               "cpuset cpu io memory pids\n",
				sys + "user.slice/session-1.scope/":      "",
				sys + "user.slice/session-1.scope/procs": "1\n2\n",
			},
			Description{Version: 2, Controllers: []string{"cpu", "cpuset", "io", "memory", "pids"}},
		},
		"v2 in a container": {
			map[string]string{
				proc + "mountinfo": "30 23 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n", proc + "cgroup": "0::/\n",
				sys + "cgroup.controllers": "cpu memory\n", sys + "cgroup.type": "domain\n", sys + "cgroup.procs": "1\n7\n",
			},
			Description{
				Version: 2, Controllers: []string{"cpu", "memory"}, Missing: []string{"pids"}, ReadOnly: true, Contained: true, Others: 2,
			},
		},
		"v1 beside v2": {
			map[string]string{
				proc + "mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
					"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
				sys + "cpu/": "", sys + "cpuacct/": "", sys + "memory/memory.memsw.limit_in_bytes": "0", sys + "pids/": "",
			},
			Description{Version: 1, Hybrid: true, Controllers: []string{"cpu", "cpuacct", "memory", "pids"}},
		},
		"v1 without its controllers": {
			map[string]string{
				proc + "mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\nshort line\n",
				sys + "cpu/":       "", sys + "cpuacct/": "",
			},
			Description{Version: 1, Controllers: []string{"cpu", "cpuacct"}, Missing: []string{"memory", "pids"}, SwapUnbound: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Describe(fakeHost(t, c.files))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestDescribeADelegatedGroup(t *testing.T) {
	const group = "/system.slice/apibuilder.service"
	root := fakeHost(t, map[string]string{
		"proc/self/mountinfo": v2Mount, "proc/self/cgroup": "0::" + group + "/supervisor\n",
		"sys/fs/cgroup" + group + "/cgroup.controllers": "cpu memory pids", "sys/fs/cgroup" + group + "/cgroup.procs": "",
	})
	// The attribute of systemd since v251, in the only namespace that every file system of a test directory has for root.
	if err := unix.Setxattr(root+"/sys/fs/cgroup"+group, "trusted.delegate", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	got, err := Describe(root)
	want := Description{Version: 2, Group: group, Delegated: true, Controllers: []string{"cpu", "memory", "pids"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestDescribeSaysWhatItCannotRead(t *testing.T) {
	if _, err := Describe(t.TempDir()); err == nil {
		t.Fatal("no error without /proc")
	}
	if _, err := Describe(fakeHost(t, map[string]string{"proc/self/mountinfo": v2Mount, "proc/self/cgroup": "0::/x\n"})); err == nil {
		t.Fatal("no error without the file of controllers")
	}
}

// TestDescribeAgreesWithOpen does so on this host, where the tests of Open run.
func TestDescribeAgreesWithOpen(t *testing.T) {
	d, err := Describe("/")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Open("describe-test")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if d.Version != tree.Version() || len(d.Missing) > 0 || d.ReadOnly {
		t.Fatalf("%+v, but version %d opens", d, tree.Version())
	}
}
