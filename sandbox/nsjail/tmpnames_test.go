package nsjail_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
	"apibuilder/sandbox/nsjail"
)

// shared is a directory of the host's below dir, for everybody, with a file in it.
func shared(t *testing.T, dir string) string {
	t.Helper()
	path, err := os.MkdirTemp(dir, "apibuilder-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // the build user writes here
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "file"), []byte("of the host"), 0o644); err != nil { //nolint:gosec // sandboxes read it
		t.Fatal(err)
	}
	return path
}

// TestADataDirectoryBelowTmp is about what is bound below /tmp and its other names, which no build could start with.
func TestADataDirectoryBelowTmp(t *testing.T) {
	jail := nsjail.NewBuildJail(nsjail.BuildConfig{
		Nsjail: testenv.Tools(t).Nsjail, Dir: testenv.Dir(), Instance: "nsjail-tmp-" + strconv.Itoa(os.Getpid()),
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
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		readOnly, writable := shared(t, dir), shared(t, dir)
		var out bytes.Buffer
		cmd := exec.Command("/usr/bin/cp", readOnly+"/file", writable+"/copy")
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/tmp", &out, &out
		if err := jail.Run(t.Context(), cmd, []string{"/usr/bin/cp", readOnly}, []string{writable}, nil); err != nil {
			t.Errorf("a build with paths below %s: %v\n%s", dir, err, out.String())
		}
		if text, _ := os.ReadFile(writable + "/copy"); string(text) != "of the host" {
			t.Errorf("below %s it wrote %q", dir, text)
		}
		cmd = exec.Command("/usr/bin/cp", readOnly+"/file", readOnly+"/copy")
		cmd.Dir = "/tmp"
		if err := jail.Run(t.Context(), cmd, []string{"/usr/bin/cp", readOnly}, nil, nil); err == nil {
			t.Errorf("below %s it wrote where it must not", dir)
		}
	}
}

const tmpProgram = `
import os
from fastapi import FastAPI
app = FastAPI()
def attempt(path):
    try:
        with open(path, "x") as f:
            return "written"
    except OSError as e:
        return os.strerror(e.errno)
@app.get("/")
def root(): return [open(path + "/file").read() for path in PATHS] + [attempt(path + "/new") for path in PATHS] + [
    attempt("/var/tmp/one"), attempt("/dev/shm/two"), os.path.exists("/tmp/one"), os.path.exists("/tmp/two")]
`

// TestAnInterpreterBelowAnyTmpIsReadOnly is the same of a sandbox, whose own /tmp has these names too.
func TestAnInterpreterBelowAnyTmpIsReadOnly(t *testing.T) {
	spec := testenv.Spec(t, "", "")
	paths := []string{shared(t, "/tmp"), shared(t, "/var/tmp"), shared(t, "/dev/shm")}
	spec.Mounts = append(spec.Mounts, paths...)
	spec.API, spec.RootPath = "api_tmp", "/run/api_tmp"
	spec.Code = "PATHS = [\"" + strings.Join(paths, `", "`) + "\"]\n" + tmpProgram
	i := launch(t, sandbox.ManagerConfig{Driver: testenv.Driver(t), StartTimeout: 3 * time.Minute}, spec)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := i.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	const host, no = `"of the host"`, `"Read-only file system"`
	want := "[" + strings.Join([]string{host, host, host, no, no, no, `"written"`, `"written"`, "true", "true"}, ",") + "]"
	if string(text) != want {
		t.Errorf("the program found %s, want %s", text, want)
	}
}
