package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPurgeOfADataDirectoryOnADiskOfItsOwn runs the package's script where /etc and /var/lib are others than the machine's.
func TestPurgeOfADataDirectoryOnADiskOfItsOwn(t *testing.T) {
	for name, mounts := range map[string]string{
		"the whole directory": "/var/lib/apibuilder", "a part of it": "/var/lib/apibuilder/envs", "none": "",
	} {
		t.Run(name, func(t *testing.T) {
			script := `set -e
				for there in /etc /var/lib; do mount -t tmpfs test $there; done
				mkdir -p /etc/apibuilder /var/lib/apibuilder
				for there in ` + mounts + `; do mkdir -p $there; mount -t tmpfs test $there; done
				mkdir -p /var/lib/apibuilder/envs/one
				touch /etc/apibuilder/config.toml /var/lib/apibuilder/apibuilder.db /var/lib/apibuilder/envs/one/file
				sh packaging/postrm.sh remove
				[ -e /var/lib/apibuilder/envs/one/file ] && [ -e /etc/apibuilder/config.toml ]
				sh packaging/postrm.sh purge
				[ ! -e /etc/apibuilder ]
				echo left: $(find /var/lib/apibuilder ! -type d 2>/dev/null)`
			out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "left:\n") || strings.Contains(string(out), "is empty and stays") != (mounts != "") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
