package toolchain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// onPath returns the real path of the tool on PATH when it is exactly the pinned one and every user may run it, and says
// why it is passed over otherwise. It returns "" when there is none to use.
func (in *installer) onPath(ctx context.Context, p pin) string {
	found, err := exec.LookPath(p.tool)
	if err != nil {
		return ""
	}
	path, err := filepath.EvalSymlinks(found)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		err = runnableByAll(path)
	}
	if err == nil {
		err = p.isExactly(ctx, path)
	}
	if err != nil {
		in.progress(fmt.Sprintf("not using %s: %v", found, err))
		return ""
	}
	return path
}

// isExactly returns nil when the executable is of the pinned version. uv is asked; nsjail 3.6 has no option that tells
// its version, so only the very file that is pinned is recognised.
func (p pin) isExactly(ctx context.Context, path string) error {
	if p.tool == "uv" {
		return p.saysVersion(ctx, path)
	}
	for _, f := range p.files {
		if f.path != p.exe {
			continue
		}
		if sum, _, err := hashFile(path); err != nil || sum != f.sha256 {
			return fmt.Errorf("it cannot be told to be %s %s", p.tool, p.version)
		}
	}
	return p.starts(ctx, path)
}

func (p pin) saysVersion(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask its version: %w", err)
	}
	if words := strings.Fields(string(out)); len(words) < 2 || words[0] != p.tool || words[1] != p.version {
		return fmt.Errorf("it is not %s %s", p.tool, p.version)
	}
	return nil
}

// runnableByAll returns nil when an unprivileged user can run the file and only root or the caller can change it.
func runnableByAll(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o001 == 0 {
		return fmt.Errorf("%s cannot be run by every user", path)
	}
	if info.Mode().Perm()&0o022 != 0 || !trusted(info) {
		return fmt.Errorf("%s can be changed by others", path)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s cannot be entered by every user", dir)
		}
		if !trusted(info) || info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
			return fmt.Errorf("%s can be changed by others", dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func trusted(info os.FileInfo) bool { return ownerOf(info) == 0 || ownerOf(info) == os.Geteuid() }
