package outside

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"apibuilder/egress"
	"apibuilder/internal/nettest"
	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

// trialHost is where a program is tried.
type trialHost struct{ Binary, Data, Program string }

const trialCode = `
import socket
from fastapi import FastAPI
app = FastAPI()
@app.get("/reach")
def reach(now: bool):
    try:
        with socket.create_connection(("` + webAddress + `", 443), 20) as s:
            s.sendall(b"there")
            return s.recv(5).decode()
    except OSError as e:
        return type(e).__name__
`

// TestTrialReachesOutside has sandbox test try a program with and without what it may reach.
func TestTrialReachesOutside(t *testing.T) {
	var host trialHost
	if !nettest.Isolated(t, &host, func() { host = newTrialHost(t) }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32")
	go nettest.Echo(w.Listen(webAddress + ":443"))
	without := host.try(t)
	if without.body != "OSError" || without.Egress != nil {
		t.Errorf("without --egress: %+v", without)
	}
	with := host.try(t, "--egress-ceiling", "internet", "--egress", webAddress+":443")
	if with.body != "there" || with.Egress == nil || with.Egress.Connections != 1 || with.Egress.Sent != 5 || with.Egress.Received != 5 {
		t.Errorf("with --egress: %+v", with)
	}
	other := host.try(t, "--egress-ceiling", "internet", "--egress", webAddress+":444")
	if other.body != "ConnectionRefusedError" || other.Egress.Refused != 1 || !strings.Contains(other.printed(), "egress refused: "+webAddress+":443 is not in") {
		t.Errorf("with another port: %+v", other)
	}
}

// newTrialHost makes a data directory in which the environment is built already.
func newTrialHost(t *testing.T) trialHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "apibuilder-trial-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := trialHost{Binary: filepath.Join(dir, "apibuilder"), Data: filepath.Join(dir, "data"), Program: filepath.Join(dir, "app.py")}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	testenv.Binary(t, h.Binary)
	testenv.DataDir(t, h.Data)
	if err := os.WriteFile(h.Program, []byte(trialCode), 0o600); err != nil {
		t.Fatal(err)
	}
	h.try(t)
	return h
}

type tried struct {
	OK       bool
	Requests []struct{ Path, Body string }
	Egress   *egress.Report
	Output   []sandbox.Line
	body     string // of the answer
}

func (r tried) printed() string {
	var text strings.Builder
	for _, l := range r.Output {
		text.WriteString(l.Text + "\n")
	}
	return text.String()
}

// try runs sandbox test with further arguments.
func (h trialHost) try(t *testing.T, more ...string) (r tried) {
	t.Helper()
	args := append([]string{"sandbox", "test", h.Program, "--json", "--data-dir", h.Data, "--start-timeout", "5m", "--request", "GET /reach?now=true"}, more...)
	cmd := exec.CommandContext(t.Context(), h.Binary, args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &r) != nil || !r.OK || len(r.Requests) == 0 {
		t.Fatalf("sandbox test: %v: %s\n%s", err, out, problems.Bytes())
	}
	r.body = strings.Trim(r.Requests[len(r.Requests)-1].Body, "\"")
	return r
}
