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

// TestRemovingThePackageWithUnitsThatSystemctlRefuses to disable, as it does with those that are masked.
func TestRemovingThePackageWithUnitsThatSystemctlRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		active  string // what is-active exits with
		refused bool
	}{
		"and that do not run": {"3", false},
		"and that run":        {"0", true},
	} {
		t.Run(name, func(t *testing.T) {
			script := `set -e
				mount -t tmpfs test /run
				mkdir -p /run/systemd/system /run/bin
				printf '#!/bin/sh\n[ "$1" != is-active ] || exit ` + c.active + `\nexit 1\n' >/run/bin/systemctl
				chmod +x /run/bin/systemctl
				PATH=/run/bin:$PATH
				sh packaging/prerm.sh upgrade 2
				sh packaging/prerm.sh remove
				sh packaging/postrm.sh remove`
			out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
			if (err != nil) != c.refused || c.refused != strings.Contains(string(out), "still runs") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
