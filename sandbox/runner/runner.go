// Package runner carries the Python programs that are the first thing inside every sandbox.
package runner

import "embed"

// Files are boot.py and the package apibuilder_runner beside it. `python -I -S -B boot.py` is started as PID 1, with the listening
// socket as descriptor 3, the control descriptor as 4 and a pipe for PID 1's own word as 7; their first comments tell the rest.
//
//go:embed boot.py apibuilder_runner/*.py
var Files embed.FS
