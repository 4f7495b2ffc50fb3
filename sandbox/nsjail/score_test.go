package nsjail_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
)

// TestSandboxesGoFirstWhenMemoryIsShort reads the score that the kernel chooses by (proc_pid_oom_score_adj(5)): of nsjail, PID 1 and
// a program with its children, in a sandbox and in a build, and that the server keeps its own.
func TestSandboxesGoFirstWhenMemoryIsShort(t *testing.T) {
	own := score(t, os.Getpid())
	spec := testenv.Spec(t, "", "")
	spec.API, spec.RootPath = "api_score", "/run/api_score"
	spec.Code = `
import subprocess
from fastapi import FastAPI
app = FastAPI()
child = subprocess.Popen(["/env/bin/python", "-c", "import time; time.sleep(600)"])
@app.get("/")
def root():
    try:
        open("/proc/self/oom_score_adj", "w").write("0")
    except OSError as e:
        return "refused"
    return open("/proc/self/oom_score_adj").read()
`
	i := launch(t, sandbox.ManagerConfig{Driver: testenv.Driver(t)}, spec)
	ask(t, i.Transport())
	pids := descendants(t)
	if len(pids) < 4 {
		t.Errorf("only %d processes: nsjail, PID 1, the program and its child were expected", len(pids))
	}
	for pid := range pids {
		if got := score(t, pid); got != "1000" {
			t.Errorf("process %d of the sandbox has the score %s", pid, got)
		}
	}
	if now := score(t, os.Getpid()); now != own {
		t.Errorf("the server's own score is %s, and was %s", now, own)
	}
}

// TestBuildsGoFirstWhenMemoryIsShort is the same of a program of a build.
func TestBuildsGoFirstWhenMemoryIsShort(t *testing.T) {
	jail := nsjail.NewBuildJail(nsjail.BuildConfig{
		Nsjail: testenv.Tools(t).Nsjail, Dir: testenv.Dir(), Instance: "nsjail-score-" + strconv.Itoa(os.Getpid()),
		UID: nsjail.DefaultUIDs.First, GID: nsjail.DefaultUIDs.First,
	})
	if err := jail.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := jail.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	cmd := exec.Command("/usr/bin/cat", "/proc/self/oom_score_adj")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/tmp", &out, &out
	if err := jail.Run(t.Context(), cmd, []string{"/usr/bin/cat"}, nil, nil); err != nil || strings.TrimSpace(out.String()) != "1000" {
		t.Errorf("a build has the score %q, %v", out.String(), err)
	}
}

func score(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
