package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	text, err := os.ReadFile(filepath.Join(env, venvConfig))
	if err != nil || string(text) != venvText(interp) {
		return unwelcome("it replaces %s", venvConfig)
	}
	return nil
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
