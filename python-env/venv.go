package pythonenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// makeVenv makes the directory of an environment with what makes it one (PEP 405), for the build user. It does what
// `uv venv --relocatable` does without the scripts for shells; "relocatable" tells uv to write scripts that find their
// interpreter beside them. All of it is new: where code of a build had been before, root would write through its links.
func (b *Builder) makeVenv(s scratch, interp Interpreter) error {
	if err := os.Mkdir(s.env, 0o700); err != nil {
		return fmt.Errorf("make the environment: %w", err)
	}
	packages := filepath.Join("lib", "python"+interp.Minor, "site-packages")
	var errs []error
	for _, dir := range []string{"bin", "lib", filepath.Dir(packages), packages} {
		errs = append(errs, os.Mkdir(filepath.Join(s.env, dir), 0o755))
	}
	for name, target := range map[string]string{
		"bin/python": interp.Path, "bin/python3": "python", "bin/python" + interp.Minor: "python", "lib64": "lib",
	} {
		errs = append(errs, os.Symlink(target, filepath.Join(s.env, name)))
	}
	errs = append(errs, os.WriteFile(filepath.Join(s.env, venvConfig), []byte(venvText(interp)), 0o644))
	for _, name := range []string{"bin", "lib", filepath.Dir(packages), packages, venvConfig, ""} { // its own comes last
		errs = append(errs, os.Lchown(filepath.Join(s.env, name), int(b.cfg.BuildUID), int(b.cfg.BuildGID)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("make the environment: %w", err)
	}
	return nil
}

const venvConfig = "pyvenv.cfg"

func venvText(i Interpreter) string {
	return "home = " + filepath.Dir(i.Path) + "\nimplementation = " + i.Implementation + "\nversion_info = " + i.Version +
		"\ninclude-system-site-packages = false\nrelocatable = true\n"
}

// checkVenv refuses an environment in which a package has replaced what makeVenv wrote.
func checkVenv(env string, interp Interpreter) error {
	if target, err := os.Readlink(filepath.Join(env, "bin", "python")); err != nil || target != interp.Path {
		return unwelcome("it replaces %s", "bin/python")
	}
	want := venvText(interp)
	text, err := readLeft(env, venvConfig, int64(len(want)))
	if err != nil || string(text) != want {
		return unwelcome("it replaces %s", venvConfig)
	}
	return nil
}

// readLeft reads a file of at most so many bytes that a build left below dir. There may be anything in its place: no link out of dir is
// followed, and nothing is waited for.
func readLeft(dir, name string, most int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	f, size, err := openLeft(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, fmt.Errorf("%s has %d bytes", name, size)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// openLeft opens a regular file that a build left, and nothing else: a pipe would be waited for, a device has no end.
func openLeft(root *os.Root, name string) (f *os.File, size int64, err error) {
	if f, err = root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// startupCode lists what Python runs at every start of a program, which an author may not expect of a package. It is no
// danger to the platform: it runs in the API's sandbox alone.
func startupCode(entries []entry) []string {
	var found []string
	for _, e := range entries {
		dir, name := filepath.Split(e.Path)
		if !strings.HasSuffix(dir, "/site-packages/") {
			continue
		}
		switch {
		case strings.HasSuffix(name, ".pth"), name == "sitecustomize.py", name == "usercustomize.py":
			found = append(found, name)
		}
	}
	return found
}
