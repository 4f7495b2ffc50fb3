package outside

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
def talk(count: int, host: str = "` + webAddress + `"):
    with socket.create_connection((host, 443), 20) as s:
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
def refused(now: bool, host: str = "` + webAddress + `"):
    try:
        socket.create_connection((host, 444), 20)
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
	w := nettest.NewWorld(t, webAddress+"/32", nameAddress+"/32")
	go nettest.Echo(w.Listen(webAddress + ":443"))
	nettest.NewNames(w, nameAddress+":53", map[string][]string{"web.example.com": {webAddress}, "other.example.com": {webAddress}})
	nettest.NameServers(t, nameAddress)
	if err := os.WriteFile(host.Program, []byte(countedCode), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := host.serve(t, "--egress-ceiling", "internet", "--admin-listen", "127.0.0.1:0")
	host.command(t, "deploy", host.Program, "--name", "counted", "--public", "--set", "egress="+webAddress+":443, web.example.com:443")
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
	call("/talk?count=7&host=web.example.com", "7")
	call("/refused?now=true&host=web.example.com", `"ConnectionRefusedError"`)
	call("/refused?now=true&host=other.example.com", `"gaierror"`)

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
				Sent        int `json:"bytes_sent"`
				Received    int `json:"bytes_received"`
				Refused     int
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
	if e.Open != 1 || e.Connections != 4 || e.Sent != 1000031 || e.Received != 1000031 || e.Refused < 3 || len(e.Destinations) != 5 ||
		e.Destinations[0].To != webAddress+":443" || e.Destinations[0].Connections != 3 {
		t.Errorf("apis show --json: %+v", e)
	}
	looked := 0 // up, before it was given up
	for _, d := range e.Destinations {
		switch d.To {
		case "web.example.com:443":
			if d.Connections != 1 || d.Sent != 7 || d.Received != 7 || d.Refused != 0 {
				t.Errorf("by its name: %+v", d)
			}
		case "web.example.com:444":
			if d.Connections != 0 || d.Refused != 1 {
				t.Errorf("another port of its name: %+v", d)
			}
		case "other.example.com":
			looked = d.Refused
		}
	}
	if looked == 0 || e.Refused != looked+2 {
		t.Errorf("of %d refusals %d are of a name that is not listed", e.Refused, looked)
	}
	has := func(where, text string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("%s has no %q:\n%s", where, want, text)
			}
		}
	}
	has("apis show", host.command(t, "apis", "show", "counted"), "Egress 4 connections (1 open)", webAddress+":443 3", "web.example.com:443 1 7 7 0")
	has("logs", host.command(t, "logs", "counted"), "egress refused: "+webAddress+":444 is not in the API's option egress")
	has("usage", host.command(t, "usage", "--egress", "--by", "destination", "--csv"), webAddress+":443,3,1000024,1000024,0", webAddress+":444,0,0,0,1",
		"web.example.com:443,1,7,7,0", "web.example.com:444,0,0,0,1", fmt.Sprintf("other.example.com,0,0,0,%d", looked))
	page := fetch(t, "http://"+ready.Admin+"/metrics", host.scraper(t))
	for _, want := range []string{
		`apibuilder_egress_open_connections{api="%s"} 1`,
		`apibuilder_egress_connections_total{api="%s",destination="` + webAddress + `:443"} 3`,
		`apibuilder_egress_bytes_total{api="%s",destination="` + webAddress + `:443",direction="sent"} 1.000024e+06`,
		`apibuilder_egress_bytes_total{api="%s",destination="` + webAddress + `:443",direction="received"} 1.000024e+06`,
		`apibuilder_egress_refused_total{api="%s",destination="` + webAddress + `:444"} 1`,
		`apibuilder_egress_connections_total{api="%s",destination="web.example.com:443"} 1`,
		`apibuilder_egress_bytes_total{api="%s",destination="web.example.com:443",direction="sent"} 7`,
		`apibuilder_egress_bytes_total{api="%s",destination="web.example.com:443",direction="received"} 7`,
		`apibuilder_egress_refused_total{api="%s",destination="web.example.com:444"} 1`,
		`apibuilder_egress_refused_total{api="%s",destination="other.example.com"} ` + fmt.Sprint(looked),
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
	has("logs", sums+"\n"+text, "egress: reached "+webAddress+":443 (4 connections, 976.6 KiB sent, 976.6 KiB received), "+
		"web.example.com:443 (1 connection, 7 bytes sent, 7 bytes received); refused ", " "+webAddress+":444 (", " web.example.com:444 (1 time)",
		fmt.Sprintf(" other.example.com (%d time", looked))
}

// TestBuildsAreCounted has a whole server count what builds reach: an index of packages, which has none.
func TestBuildsAreCounted(t *testing.T) {
	var host trialHost
	if !nettest.Isolated(t, &host, func() { host = newTrialHost(t) }) {
		return
	}
	w := nettest.NewWorld(t, webAddress+"/32", nameAddress+"/32")
	nettest.NewNames(w, nameAddress+":53", map[string][]string{"packages.example.com": {webAddress}})
	nettest.NameServers(t, nameAddress)
	srv := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	index := w.Listen(webAddress + ":80")
	go func() { _ = srv.Serve(index) }()
	t.Cleanup(func() { _ = srv.Close() })
	t.Setenv("UV_DEFAULT_INDEX", "http://packages.example.com/simple")
	needs := filepath.Join(t.TempDir(), "requirements.txt")
	if err := os.WriteFile(needs, []byte("not-there-at-all==1.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := host.serve(t, "--admin-listen", "127.0.0.1:0")
	cmd := exec.CommandContext(t.Context(), host.Binary, "deploy", host.Program, "-r", needs, "--name", "built", "--data-dir", host.Data)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not-there-at-all") {
		t.Fatalf("deploy: %v: %s", err, out)
	}
	token := host.scraper(t)
	// What the build no longer waits for is counted a moment after its end.
	wrong := []string{"nothing was looked at"}
	for deadline := time.Now().Add(10 * time.Second); len(wrong) > 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		wrong = host.miscounted(t, ready, token, "packages.example.com:80")
	}
	for _, text := range wrong {
		t.Error(text)
	}
}

// miscounted says which places do not tell the same of what builds reached at a destination.
func (h trialHost) miscounted(t *testing.T, ready served, token, to string) (wrong []string) {
	t.Helper()
	byDestination := h.command(t, "usage", "--egress", "--by", "destination", "--csv")
	row := regexp.MustCompile(regexp.QuoteMeta(to) + `,([1-9]\d*),([1-9]\d*),([1-9]\d*),0\n`).FindStringSubmatch(byDestination)
	if row == nil {
		return []string{"usage --egress --by destination: " + byDestination}
	}
	byAPI := h.command(t, "usage", "--egress", "--by", "api", "--csv")
	if want := ",builds,,," + strings.Join(row[1:], ",") + ",0\n"; !strings.Contains(byAPI, want) {
		wrong = append(wrong, "usage --egress --by api has no "+want+": "+byAPI)
	}
	page := fetch(t, "http://"+ready.Admin+"/metrics", token)
	for _, want := range []string{
		`apibuilder_egress_connections_total{api="builds",destination="` + to + `"} ` + row[1],
		`apibuilder_egress_bytes_total{api="builds",destination="` + to + `",direction="sent"} ` + row[2],
		`apibuilder_egress_bytes_total{api="builds",destination="` + to + `",direction="received"} ` + row[3],
	} {
		if !strings.Contains(page, want+"\n") {
			wrong = append(wrong, "/metrics has no "+want+": "+page)
		}
	}
	return wrong
}

// scraper makes a token with which /metrics can be read, as a header has it.
func (h trialHost) scraper(t *testing.T) string {
	t.Helper()
	var token struct{ Secret string }
	if err := json.Unmarshal([]byte(h.command(t, "tokens", "create", "--name", "scraper", "--json")), &token); err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token.Secret
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
