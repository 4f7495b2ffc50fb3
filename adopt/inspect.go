package adopt

import (
	"bytes"
	"context"
	_ "embed" // the program that reads programs
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

//go:embed inspect.py
var inspector string

const (
	inspectedAtOnce = 64 // programs
	inspectTimeout  = 2 * time.Minute
	nobody          = 65534
)

// inspection is what a program says of itself without being run.
type inspection struct {
	Syntax  string         `json:"syntax"`  // an error, empty: none
	App     bool           `json:"app"`     // it seems to define an application
	Imports map[string]int `json:"imports"` // modules that are not Python's own, with the line
}

// DefaultPython is where sandboxes have their interpreter from, too: one that every user may run.
func DefaultPython() string {
	const elsewhere = "/usr/local/bin/python3"
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		return elsewhere
	}
	return "/usr/bin/python3"
}

var errParser = errors.New("the parser gave up on it")

// inspectAll reads programs by their code. The parser is Python's, which hostile text can crash, so it runs in a process of its own,
// as nobody where we are root, within limits; where one takes it down, the others are read one by one.
func inspectAll(ctx context.Context, python string, codes []string) (map[string]inspection, error) {
	found := map[string]inspection{}
	for chunk := range slices.Chunk(codes, inspectedAtOnce) {
		all, err := inspect(ctx, python, chunk)
		if err == nil {
			for i, code := range chunk {
				found[code] = all[i]
			}
			continue
		}
		for _, code := range chunk {
			one, err := inspect(ctx, python, []string{code})
			switch {
			case err == nil:
				found[code] = one[0]
			case errors.Is(err, errParser):
				found[code] = inspection{Syntax: errParser.Error()}
			default:
				return nil, err
			}
		}
	}
	return found, nil
}

// inspect returns an errParser when the process ended by a signal, or without an answer for each.
func inspect(outer context.Context, python string, codes []string) ([]inspection, error) {
	ctx, cancel := context.WithTimeout(outer, inspectTimeout)
	defer cancel()
	var in, out, errs bytes.Buffer
	for _, code := range codes {
		if err := json.NewEncoder(&in).Encode(map[string]string{"code": code}); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, python, "-I", "-S", "-B", "-c", inspector)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &errs
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w: install python3", python, err)
	}
	ended := cmd.Wait()
	if outer.Err() != nil {
		return nil, outer.Err()
	}
	var all []inspection
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var one inspection
		if err := decoder.Decode(&one); err != nil {
			return nil, errParser
		}
		all = append(all, one)
	}
	if ended != nil || len(all) != len(codes) {
		return nil, fmt.Errorf("%w: %w: %.200s", errParser, errors.Join(ended), errs.String())
	}
	return all, nil
}
