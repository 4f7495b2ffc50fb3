package toolchain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Found says where Ensure would take one tool from.
type Found struct {
	Tool    string
	Version string // the pinned one
	Path    string // of the executable; empty: Ensure would have to obtain it
	Wheel   string // put into the tools directory by hand, which it would be installed from; empty: it would be fetched
	Notes   string // what was passed over and why; empty: nothing
}

// Look does what Ensure does, up to the point where something would have to be written or fetched. It asks tools on PATH
// for their version. Errors are about the machine's architecture.
func Look(ctx context.Context, dir string) ([]Found, error) {
	pins, err := pinsFor(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	var all []Found
	for _, p := range pins {
		all = append(all, look(ctx, dir, p))
	}
	return all, nil
}

func look(ctx context.Context, dir string, p pin) Found {
	f := Found{Tool: p.tool, Version: p.version}
	var notes []string
	in := newInstaller(dir, []pin{p}, func(line string) { notes = append(notes, line) })
	if f.Path = in.onPath(ctx, p); f.Path == "" {
		home := filepath.Join(dir, p.folder())
		switch err := p.verify(home); {
		case err == nil:
			f.Path = filepath.Join(home, p.exe)
		case !errors.Is(err, os.ErrNotExist):
			notes = append(notes, fmt.Sprintf("not using %s: %v", home, err))
		}
	}
	if f.Path == "" {
		wheel := filepath.Join(dir, p.wheel)
		switch data, err := readRegular(wheel, p.size); {
		case errors.Is(err, os.ErrNotExist):
		case err == nil && p.check(data) == nil:
			f.Wheel = wheel
		default:
			notes = append(notes, fmt.Sprintf("%s is not the wheel that is pinned, and stops serve: remove it", wheel))
		}
	}
	f.Notes = strings.Join(notes, "; ")
	return f
}

// Reach asks an index for the page of a project and waits no longer than patience. It returns nil when the index answers
// with that page, which is not read; its errors show no credentials.
func Reach(ctx context.Context, index Index, project string, patience time.Duration) error {
	f, err := newFetcher(index, retry{attempts: 1, idle: 2 * patience}) // the context ends it first
	if err != nil {
		return err
	}
	defer f.close()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("there was no answer for %s", patience))
	defer cancel()
	page := f.index.JoinPath(project, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return fmt.Errorf("ask %s: not a valid address", bare(page))
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "apibuilder")
	f.authorize(req)
	resp, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", bare(page), withCause(ctx, withoutURL(err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp, page)
	}
	return nil
}
