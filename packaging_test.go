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

// TestThePackageBesideInstall is refused: the unit of `apibuilder install` would go before the package's.
func TestThePackageBesideInstall(t *testing.T) {
	const unit = "/etc/systemd/system/apibuilder.service"
	for name, c := range map[string]struct {
		make    string
		refused bool
	}{
		"none":                     {"true", false},
		"of install":               {"cp cli/install/apibuilder.service " + unit, true},
		"of the administrator":     {"echo '[Service]' >" + unit, false},
		"masked":                   {"ln -s /dev/null " + unit, false},
		"a drop-in of systemctl's": {"mkdir " + unit + ".d", false},
	} {
		t.Run(name, func(t *testing.T) {
			script := "set -e; mount -t tmpfs test /etc; mkdir -p /etc/systemd/system; " + c.make + "; sh packaging/preinst.sh abort-upgrade 1; sh packaging/preinst.sh install"
			out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
			if (err != nil) != c.refused || c.refused != strings.Contains(string(out), "Run 'apibuilder uninstall'") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
