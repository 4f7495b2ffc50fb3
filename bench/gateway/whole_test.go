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
	if out, err := exec.Command("go", "build", "-o", binary, "apibuilder").CombinedOutput(); err != nil {
		b.Fatalf("build: %v: %s", err, out)
	}
	if err := os.Mkdir(data, 0o711); err != nil {
		b.Fatal(err)
	}
	testenv.Tools(b)
	for _, name := range []string{"tools"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(testenv.Dir(), name), data).CombinedOutput(); err != nil {
			b.Fatalf("copy the tools: %v: %s", err, out)
		}
	}
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
	return &peer{name: "apibuilder, sandbox", url: deployed.URL, key: deployed.Key, pids: []int{cmd.Process.Pid}}
}
