package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAvailable(t *testing.T) {
	const proc, sys, mib = "proc/", "sys/fs/cgroup/", int64(1 << 20)
	meminfo := "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 1024000 kB\n"
	v1 := "31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"the machine's": {map[string]string{proc + "self/mountinfo": "22 1 254:0 / / rw - ext4 /dev/vda rw\n"}, 1000 * mib},
		"v2, a slice that is bounded": {map[string]string{
			proc + "self/mountinfo": v2Mount, proc + "self/cgroup": "0::/a.slice/b.service/supervisor\n", sys + "cgroup.type": "domain\n",
			sys + "a.slice/memory.max": "524288000\n", sys + "a.slice/memory.current": "314572800\n",
			sys + "a.slice/memory.stat":          "anon 1\ninactive_file 104857600\n",
			sys + "a.slice/b.service/memory.max": "max\n", sys + "a.slice/b.service/cgroup.controllers": "memory\n",
			sys + "a.slice/b.service/cgroup.procs": "1\n",
		}, 300 * mib},
		"v1 without a limit": {map[string]string{
			proc + "self/mountinfo": v1, sys + "memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 1000 * mib},
		"v1, a container with a limit": {map[string]string{
			proc + "self/mountinfo": v1, sys + "memory/memory.limit_in_bytes": "209715200\n", sys + "memory/memory.usage_in_bytes": "104857600\n",
			sys + "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 52428800\n",
		}, 150 * mib},
	} {
		c.files[proc+"meminfo"] = meminfo
		m, err := NewMeter(fakeHost(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := m.Available(); err != nil || got != c.want {
			t.Errorf("%s: %d MiB, %v; want %d", name, got/mib, err, c.want/mib)
		}
	}
}

func TestAvailableSaysWhatItCannotRead(t *testing.T) {
	root := fakeHost(t, map[string]string{"proc/self/mountinfo": "", "proc/meminfo": "MemTotal: 1 kB\n"})
	m, err := NewMeter(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Available(); err == nil {
		t.Errorf("%d without a line that tells", got)
	}
	if err := os.Remove(filepath.Join(root, "proc/meminfo")); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Available(); err == nil {
		t.Errorf("%d without a file that tells", got)
	}
}

func TestAvailableHere(t *testing.T) {
	m, err := NewMeter("/")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Available(); err != nil || got <= 0 {
		t.Errorf("%d bytes, %v", got, err)
	}
}
