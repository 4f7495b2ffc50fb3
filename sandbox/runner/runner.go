// Package runner carries the Python program that is the first thing inside every sandbox.
package runner

import _ "embed"

// Source is the program's text. It is started as `python -I runner.py` with the listening socket as descriptor 3 and the
// control descriptor as 4; its own first comment tells the rest.
//
//go:embed runner.py
var Source []byte
