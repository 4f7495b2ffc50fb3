package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long the scripts wait for what must come.
const patience = 3 * time.Minute

// ready is the line that serve --json prints.
type ready struct {
	Event       string `json:"event"`
	URL         string `json:"url"`
	Listen      string `json:"listen"`
	AdminListen string `json:"admin_listen"`
	DataDir     string `json:"data_dir"`
	PID         int    `json:"pid"`
	Example     struct {
		ID, Name, URL, Key, Docs, Curl string
	} `json:"example"`
}

// server is a real one, in a process of its own.
type server struct {
	cmd     *exec.Cmd
	dataDir string
	ready   ready
	line    string
	stderr  bytes.Buffer
	ended   chan error
}

// startServer returns when the server is ready.
func startServer(dataDir, dir string, env []string, args ...string) (*server, error) {
	s := &server{dataDir: dataDir, ended: make(chan error, 1)}
	s.cmd = exec.Command("apibuilder", append([]string{"serve", "--json", "--data-dir", dataDir}, args...)...)
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		s.cmd.Args = append(s.cmd.Args, "--listen", "127.0.0.1:0")
	}
	s.cmd.Env, s.cmd.Dir = env, dir
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	timer := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
	found := lines.Scan()
	timer.Stop()
	s.line = lines.Text()
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		s.ended <- s.cmd.Wait()
	}()
	if !found || json.Unmarshal([]byte(s.line), &s.ready) != nil || s.ready.Event != "ready" {
		_ = s.cmd.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("the server did not become ready: %s\n%s", s.line, s.stderr.String())
	}
	return s, nil
}

// stop sends the signal and waits for the end.
func (s *server) stop(signal os.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		return errors.New("the server did not end")
	}
}

// newServer starts one for a whole test and stops it at its end.
func newServer(t *testing.T, dataDir string, args ...string) *server {
	t.Helper()
	s, err := startServer(dataDir, "", os.Environ(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(syscall.SIGTERM); err != nil {
			t.Errorf("stop the server: %v", err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.stderr.String())
		}
	})
	return s
}

// commands are what scripts can do besides running programs.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"request":  cmdRequest,
	"until":    cmdUntil,
	"field":    cmdField,
	"header":   cmdHeader,
	"follow":   cmdFollow,
	"logged":   cmdLogged,
	"serve":    cmdServe,
	"end":      cmdEnd,
	"asnobody": cmdAsNobody,
}

// cmdRequest sends METHOD URL [name:value]... and checks the status: request 200 GET $URL/x X-API-Key:$KEY. A header
// "@file" is the body. The status line, header and body become the script's stdout.
func cmdRequest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: request STATUS METHOD URL [Name:value | @file]...")
	}
	var body io.Reader
	header := http.Header{}
	for _, arg := range args[3:] {
		if path, ok := strings.CutPrefix(arg, "@"); ok {
			body = strings.NewReader(ts.ReadFile(path))
			continue
		}
		name, value, _ := strings.Cut(arg, ":")
		header.Add(name, value)
	}
	r, err := http.NewRequest(args[1], args[2], body)
	ts.Check(err)
	r.Header = header
	client := &http.Client{Timeout: patience}
	response, err := client.Do(r)
	ts.Check(err)
	defer response.Body.Close()
	out := ts.Stdout()
	fmt.Fprintln(out, response.Status)
	ts.Check(response.Header.Write(out))
	fmt.Fprintln(out)
	_, err = io.Copy(out, response.Body)
	ts.Check(err)
	if got := fmt.Sprint(response.StatusCode); got != args[0] {
		ts.Fatalf("status %s, want %s", got, args[0])
	}
}

// cmdUntil sends a request, again and again, until its status is the one given; see cmdRequest.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until STATUS METHOD URL [Name:value]...")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, err := http.NewRequest(args[1], args[2], nil)
		ts.Check(err)
		for _, arg := range args[3:] {
			name, value, _ := strings.Cut(arg, ":")
			r.Header.Add(name, value)
		}
		response, err := http.DefaultClient.Do(r)
		ts.Check(err)
		_ = response.Body.Close()
		if fmt.Sprint(response.StatusCode) == args[0] {
			break
		}
	}
	cmdRequest(ts, neg, args)
}

// cmdField sets a variable from a JSON document: field KEY stdout key, with inner fields as versions.0.reason.
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field VARIABLE FILE PATH")
	}
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &value))
	for _, part := range strings.Split(args[2], ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(v) {
				ts.Fatalf("there is no %s in %s", part, args[2])
			}
			value = v[i]
		}
	}
	if value == nil {
		ts.Fatalf("there is no field %s", args[2])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// cmdHeader sets a variable from a field of the header that request printed: header ID stdout X-Request-Id.
func cmdHeader(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: header VARIABLE FILE NAME")
	}
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		name, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		if found && strings.EqualFold(name, args[2]) {
			ts.Setenv(args[0], value)
			return
		}
	}
	ts.Fatalf("there is no header field %s", args[2])
}

// cmdLogged reads an API's log, again and again, until a line matches: logged EXPRESSION NAME [flags of logs]... A program's
// lines may come after its answer.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: logged EXPRESSION NAME [FLAG]...")
	}
	wanted, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command("apibuilder", append([]string{"logs"}, args[1:]...)...)
		cmd.Env = append(os.Environ(), "APIBUILDER_DATA_DIR="+ts.Getenv("APIBUILDER_DATA_DIR"))
		out, err = cmd.Output()
		ts.Check(err)
		if wanted.Match(out) {
			_, err = ts.Stdout().Write(out)
			ts.Check(err)
			return
		}
	}
	ts.Fatalf("no line of the log matches %q:\n%s", args[0], out)
}

// cmdFollow follows an API's log until a text comes, interrupts it, and expects exit code 0: follow NAME TEXT COMMAND...,
// where the command makes the program print the text once the following has begun.
func cmdFollow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: follow NAME TEXT COMMAND...")
	}
	cmd := exec.Command("apibuilder", "logs", "-f", args[0])
	cmd.Env = append(os.Environ(), "APIBUILDER_DATA_DIR="+ts.Getenv("APIBUILDER_DATA_DIR"))
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() { // a line that was there before: the following has begun
		ts.Fatalf("the log ended")
	}
	ts.Check(ts.Exec(args[2], args[3:]...))
	for lines.Scan() {
		if strings.Contains(lines.Text(), args[1]) {
			ts.Check(cmd.Process.Signal(os.Interrupt))
			ts.Check(cmd.Wait())
			return
		}
	}
	ts.Fatalf("the log ended without %q: %v", args[1], cmd.Wait())
}

// cmdServe starts a server on $DATA; the ready line is written to the file ready.json.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	env := []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME")}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); isIndexSetting(name) {
			env = append(env, kv)
		}
	}
	s, err := startServer(ts.Getenv("DATA"), ts.MkAbs("."), env, args...)
	if neg {
		if err == nil {
			_ = s.stop(os.Kill)
			ts.Fatalf("the server started")
		}
		fmt.Fprintln(ts.Stderr(), err)
		return
	}
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("ready.json"), []byte(s.line), 0o600))
	running.Store(ts, s)
	ts.Defer(func() { _ = s.stop(syscall.SIGTERM) }) // not KILL: it takes its control groups with it
}

// running holds the server of each script.
var running sync.Map

// cmdEnd ends the script's server: end TERM expects exit code 0, end KILL does not.
func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	found, ok := running.Load(ts)
	if neg || !ok || len(args) != 1 {
		ts.Fatalf("usage: end TERM|KILL, after serve")
	}
	s := found.(*server)
	if args[0] == "KILL" {
		_ = s.stop(os.Kill)
		return
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		ts.Fatalf("the server ended with %v\n%s", err, s.stderr.String())
	}
}

// cmdAsNobody runs apibuilder as an unprivileged user. It is started through an open descriptor, because that user cannot
// reach the file.
func cmdAsNobody(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath("apibuilder")
	ts.Check(err)
	program, err := os.Open(filepath.Clean(path))
	ts.Check(err)
	defer program.Close()
	cmd := exec.Command("/proc/self/fd/3", args...)
	cmd.Args[0] = "apibuilder"
	cmd.ExtraFiles = []*os.File{program}
	cmd.Dir = "/"
	cmd.Env = []string{"APIBUILDER_DATA_DIR=" + ts.Getenv("APIBUILDER_DATA_DIR")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	err = cmd.Run()
	if neg == (err == nil) {
		ts.Fatalf("apibuilder %v ended with %v", args, err)
	}
}
