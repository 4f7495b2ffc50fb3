package gateway_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"apibuilder/internal/testenv"
)

// whole is a real server with the program in a sandbox. Limits that nothing reaches are set as in the other one.
func (g *ground) whole() *peer {
	b := g.b
	b.Helper()
	binary, data := filepath.Join(g.dir, "apibuilder"), filepath.Join(g.dir, "whole")
	testenv.Binary(b, binary)
	testenv.DataDir(b, data)
	cmd := exec.Command(binary, "serve", "--json", "--no-example", "--listen", "127.0.0.1:0", "--data-dir", data)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	if !bufio.NewScanner(out).Scan() {
		b.Fatal("the server is not ready")
	}
	run := func(args ...string) []byte {
		text, err := exec.Command(binary, append(args, "--data-dir", data, "--json")...).Output()
		if err != nil {
			b.Fatalf("%q: %v: %s", args, err, text)
		}
		return text
	}
	var deployed struct{ URL, Key string }
	if err := json.Unmarshal(run("deploy", "testdata/app.py", "--name", apiName), &deployed); err != nil {
		b.Fatal(err)
	}
	return &peer{name: "apibuilder, sandbox", url: deployed.URL, second: deployed.URL, key: deployed.Key, pids: []int{cmd.Process.Pid}}
}
