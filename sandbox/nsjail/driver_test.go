package nsjail_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
	"apibuilder/sandbox/sandboxtest"
)

func TestConformance(t *testing.T) {
	sandboxtest.Run(t, sandboxtest.Host{
		Open: func(t *testing.T) sandbox.Driver { return testenv.Driver(t) },
		Spec: testenv.Spec(t, "", ""),
	})
}

func TestStartFailsClosed(t *testing.T) {
	dir := t.TempDir()
	liar := dir + "/nsjail"
	if err := os.WriteFile(liar, []byte("#!/bin/sh\necho 'clone() failed: Operation not permitted' >&2; exit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  nsjail.Config
		want string
	}{
		"no nsjail":            {nsjail.Config{Nsjail: dir + "/absent", Dir: dir, Instance: "t1", UIDs: nsjail.DefaultUIDs}, "no such file"},
		"nsjail that does not": {nsjail.Config{Nsjail: liar, Dir: dir, Instance: "t1", UIDs: nsjail.DefaultUIDs}, "Operation not permitted"},
		"no user ids":          {nsjail.Config{Nsjail: liar, Dir: dir, Instance: "t1"}, "user id range"},
		"no instance":          {nsjail.Config{Nsjail: liar, Dir: dir, UIDs: nsjail.DefaultUIDs}, "control group name"},
	} {
		t.Run(name, func(t *testing.T) {
			d := nsjail.New(c.cfg)
			err := d.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err := d.Stop(context.Background()); err != nil {
				t.Errorf("stop after a start that failed: %v", err)
			}
		})
	}
}

// TestPolicyIsAcceptedWhole feeds the policy to nsjail itself: a system call that Kafel does not know fails the start.
func TestPolicyIsAcceptedWhole(t *testing.T) {
	for _, network := range []bool{false, true} {
		file := t.TempDir() + "/policy"
		if err := os.WriteFile(file, []byte(nsjail.Policy(network)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(testenv.Tools(t).Nsjail, "-Q", "-P", file, "--disable_clone_newuser", "--chroot", "/", "--", "/bin/true").CombinedOutput()
		if err != nil {
			t.Errorf("nsjail with network %t: %v: %s", network, err, out)
		}
	}
}
