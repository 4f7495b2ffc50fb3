package outside

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"apibuilder/internal/nettest"
)

const countedCode = `
import socket
from fastapi import FastAPI
app = FastAPI()
held = []
@app.get("/talk")
def talk(count: int):
    with socket.create_connection(("` + webAddress + `", 443), 20) as s:
        s.sendall(b"x" * count)
        s.shutdown(socket.SHUT_WR)
        return sum(len(part) for part in iter(lambda: s.recv(65536), b""))
@app.get("/hold")
def hold(now: bool):
    held.append(socket.create_connection(("` + webAddress + `", 443), 20))
    return "held"
@app.get("/held")
def still(now: bool):
    held[0].settimeout(20)
    try:
        return "closed" if not held[0].recv(1) else "answered"
    except OSError as e:
        return type(e).__name__
@app.get("/refused")
def refused(now: bool):
    try:
        socket.create_connection(("` + webAddress + `", 444), 20)
    except OSError as e:
        return type(e).__name__
`

// TestCounted has a whole server count what one program reaches and is refused, and tell it in each of the places where that is
// told.
func TestCounted(t *testing.T) {
	var host trialHost
	if !nettest.Isolated(t, &host, func() { host = newTrialHost(t) }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32")
	go nettest.Echo(w.Listen(webAddress + ":443"))
	if err := os.WriteFile(host.Program, []byte(countedCode), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := host.serve(t, "--egress-ceiling", "internet", "--admin-listen", "127.0.0.1:0")
	host.command(t, "deploy", host.Program, "--name", "counted", "--public", "--set", "egress="+webAddress+":443")
	call := func(path, want string) {
		t.Helper()
		if got := fetch(t, ready.URL+"/run/counted"+path, ""); strings.TrimSpace(got) != want {
			t.Errorf("%s answers %s, not %s", path, got, want)
		}
	}
	call("/talk?count=1000000", "1000000")
	call("/talk?count=24", "24")
	call("/hold?now=true", `"held"`)
	call("/refused?now=true", `"ConnectionRefusedError"`)

	var shown struct {
		ID     string
		Egress struct {
			Open         int
			Connections  int
			Sent         int `json:"bytes_sent"`
			Received     int `json:"bytes_received"`
			Refused      int
			Destinations []struct {
				To          string
				Connections int
			}
		}
	}
	// The end of a connection is seen a moment after the program's answer.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := json.Unmarshal([]byte(host.command(t, "apis", "show", "counted", "--json")), &shown); err != nil {
			t.Fatal(err)
		}
		if shown.Egress.Open == 1 || time.Now().After(deadline) {
			break
		}
	}
	e := shown.Egress
	if e.Open != 1 || e.Connections != 3 || e.Sent != 1000024 || e.Received != 1000024 || e.Refused != 1 || len(e.Destinations) != 2 ||
		e.Destinations[0].To != webAddress+":443" || e.Destinations[0].Connections != 3 {
		t.Errorf("apis show --json: %+v", e)
	}
	has := func(where, text string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("%s has no %q:\n%s", where, want, text)
			}
		}
	}
	has("apis show", host.command(t, "apis", "show", "counted"), "Egress 3 connections (1 open)", webAddress+":443 3")
	has("logs", host.command(t, "logs", "counted"), "egress refused: "+webAddress+":444 is not in the API's option egress")
	has("usage", host.command(t, "usage", "--egress", "--by", "destination", "--csv"), webAddress+":443,3,1000024,1000024,0", webAddress+":444,0,0,0,1")
	var token struct{ Secret string }
	if err := json.Unmarshal([]byte(host.command(t, "tokens", "create", "--name", "scraper", "--json")), &token); err != nil {
		t.Fatal(err)
	}
	page := fetch(t, "http://"+ready.Admin+"/metrics", "Bearer "+token.Secret)
	for _, want := range []string{
		`apibuilder_egress_open_connections{api="%s"} 1`,
		`apibuilder_egress_connections_total{api="%s",destination="` + webAddress + `:443"} 3`,
		`apibuilder_egress_bytes_total{api="%s",destination="` + webAddress + `:443",direction="sent"} 1.000024e+06`,
		`apibuilder_egress_bytes_total{api="%s",destination="` + webAddress + `:443",direction="received"} 1.000024e+06`,
		`apibuilder_egress_refused_total{api="%s",destination="` + webAddress + `:444"} 1`,
	} {
		has("/metrics", page, fmt.Sprintf(want, shown.ID))
	}

	// The owner takes it away, and the connection that the program holds ends while the program runs.
	host.command(t, "apis", "update", "counted", "--set", "egress=none")
	call("/held?now=true", `"ConnectionResetError"`)
	call("/refused?now=true", `"ConnectionRefusedError"`)
	host.command(t, "apis", "update", "counted", "--set", "egress="+webAddress+":443")
	call("/talk?count=24", "24")

	// When its instance has ended, the log has the whole of it, behind the refusals.
	host.command(t, "deploy", host.Program, "--name", "counted")
	sums, text := "", ""
	for deadline := time.Now().Add(time.Minute); sums == "" && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text = host.command(t, "logs", "counted", "--source", "egress")
		if lines := strings.Split(strings.TrimSpace(text), "\n"); strings.Contains(lines[len(lines)-1], "egress: ") {
			sums = lines[len(lines)-1]
		}
	}
	has("logs", sums+text, "egress: reached "+webAddress+":443 (4 connections, 976.6 KiB sent, 976.6 KiB received); refused "+webAddress+":444 (")
}

// served is what a server says when it is ready.
type served struct {
	URL   string `json:"url"`
	Admin string `json:"admin_listen"`
}

// serve runs a server until the test ends.
func (h trialHost) serve(t *testing.T, more ...string) (ready served) {
	t.Helper()
	args := append([]string{"serve", "--json", "--no-example", "--data-dir", h.Data, "--listen", "127.0.0.1:0", "--start-timeout", "5m"}, more...)
	cmd := exec.Command(h.Binary, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &ready) != nil {
		t.Fatalf("the server says %q: %v", line, err)
	}
	return ready
}

// command runs one against the server, and returns what it prints.
func (h trialHost) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), h.Binary, append(args, "--data-dir", h.Data)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

func fetch(t *testing.T, url, authorization string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := (&http.Client{Timeout: 5 * time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v: %s", url, resp.StatusCode, err, body)
	}
	return string(body)
}
