package nsjail

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"apibuilder/egress/netns"
	"apibuilder/sandbox/runner"
)

// insideUID is what every sandbox's user is called inside.
const insideUID = 1000

// etcFiles are the whole of a sandbox's /etc, but for certificates, the time zone and the linker's cache.
var etcFiles = map[string]string{
	"passwd":        "root:x:0:0:root:/:/nonexistent\napi:x:1000:1000:api:/tmp:/nonexistent\n",
	"group":         "root:x:0:\napi:x:1000:\n",
	"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"resolv.conf":   "",
}

// networkFiles are those that differ where there is more than loopback.
var networkFiles = map[string]string{
	"hosts":       etcFiles["hosts"] + netns.Inside.String() + " sandbox\n",
	"resolv.conf": "nameserver " + netns.Outside.String() + "\n",
}

// layout is the directory of files that every sandbox sees, written by us and never by anybody inside.
type layout struct{ dir string }

func (l layout) runner() string { return filepath.Join(l.dir, "runner") }
func (l layout) empty() string  { return filepath.Join(l.dir, "empty") }

// policy is the seccomp policy of sandboxes with a network, or of those without.
func (l layout) policy(network bool) string { return filepath.Join(l.dir, policyName(network)) }

func policyName(network bool) string {
	if network {
		return "network-seccomp.policy"
	}
	return "seccomp.policy"
}

// etc is the host's path of a file in a sandbox's /etc.
func (l layout) etc(name string, network bool) string {
	if _, differs := networkFiles[name]; network && differs {
		return filepath.Join(l.dir, "etc", "network-"+name)
	}
	return filepath.Join(l.dir, "etc", name)
}

// prepareLayout writes the files under a name made from their content, so that a sandbox of an older binary keeps its own.
func prepareLayout(dataDir string) (layout, error) {
	files := map[string]string{}
	for _, network := range []bool{false, true} {
		files[policyName(network)] = Policy(network)
	}
	err := fs.WalkDir(runner.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := runner.Files.ReadFile(name)
		files["runner/"+name] = string(text)
		return err
	})
	if err != nil {
		return layout{}, err
	}
	for name, text := range etcFiles {
		files["etc/"+name] = text
	}
	for name, text := range networkFiles {
		files["etc/network-"+name] = text
	}
	hash := sha256.New()
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(hash, "%d %s %d %s", len(name), name, len(files[name]), files[name])
	}
	root := filepath.Join(dataDir, "runner")
	l := layout{dir: filepath.Join(root, hex.EncodeToString(hash.Sum(nil)[:8]))}
	dirs := map[string]struct{}{root: {}, l.dir: {}, l.empty(): {}}
	for name := range files {
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			dirs[filepath.Join(l.dir, dir)] = struct{}{}
		}
	}
	for _, dir := range sortedKeys(dirs) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return l, fmt.Errorf("make the runner's directory: %w", err)
		}
		// Sandboxes reach it as another user, whatever our umask is.
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing secret in it
			return l, fmt.Errorf("open the runner's directory: %w", err)
		}
	}
	for name, text := range files {
		if err := writeAside(filepath.Join(l.dir, name), text); err != nil {
			return l, fmt.Errorf("write the runner's file %s: %w", name, err)
		}
	}
	return l, nil
}

func writeAside(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
