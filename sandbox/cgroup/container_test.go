package cgroup

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestLegacyRoots(t *testing.T) {
	const mountinfo = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
		"31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 30 0:28 /docker/7a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n" +
		"33 31 0:27 /docker/7a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n33 31\n"
	want := map[string]string{"memory": "/docker/7a", "cpu": "/docker/7a", "cpuacct": "/docker/7a"}
	if got := parseLegacyRoots(mountinfo); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestInAContainer runs tests of this package where a group of v1 is mounted as the root, and /proc/self/cgroup tells the way from
// the host's. v2 has no such thing: there the root that is mounted is looked at alone.
func TestInAContainer(t *testing.T) {
	tree := openTree(t)
	if tree.Version() != 1 || os.Getenv("CGROUP_TEST_CONTAINER") != "" {
		return
	}
	name := fmt.Sprintf("apibuilder-test-%d", os.Getpid())
	var script strings.Builder
	for _, controller := range legacyAll {
		dir := mountpoint + "/" + string(controller)
		t.Cleanup(func() {
			_ = removeGroup(dir + "/" + name + "/" + Root)
			if err := removeGroup(dir + "/" + name); err != nil {
				t.Error(err)
			}
		})
		fmt.Fprintf(&script, "mkdir -p %[1]s/%[2]s && echo $$ > %[1]s/%[2]s/cgroup.procs && mount --bind %[1]s/%[2]s %[1]s && ", dir, name)
	}
	script.WriteString(`exec timeout -s KILL 60 "$0" -test.run '^(TestChildIsBornInItsGroup|TestPidsLimit|TestRemoveEndsAForkBomb)$'`)
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", script.String(), os.Args[0])
	cmd.Env = append(os.Environ(), "CGROUP_TEST_CONTAINER=1")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %.3000s", err, out)
	}
}
