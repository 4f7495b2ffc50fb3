package sandboxtest

import (
	"errors"
	"testing"

	"apibuilder/sandbox"
)

const eaters = `
import subprocess, sys
def eat():
    hold = []
    while True: hold.append(bytearray(8 << 20))
@app.get("/eat")
def in_process(): eat()
@app.get("/eat-in-child")
def in_child():
    subprocess.run([sys.executable, "-c", "x = bytearray(1 << 30)"])
    return "survived"
@app.get("/eat-tmp")
def in_tmp():
    for n in range(100):
        try:
            with open("/tmp/%d" % n, "wb") as f: f.write(bytes(48 << 20))
        except OSError: break
    eat()
`

func outOfMemory(path string) func(*testing.T, *bench) {
	return func(t *testing.T, b *bench) {
		i := b.launch(t, eaters)
		if body, err := call(t.Context(), i, path); err == nil {
			t.Fatalf("the program answered %q", body)
		}
		if exit := waitExit(t, i); exit.Reason != sandbox.OutOfMemory {
			t.Errorf("exit %+v", exit)
		}
	}
}

func tooManyProcesses(t *testing.T, b *bench) {
	i := b.launch(t, `
import os, time
@app.get("/bomb")
def bomb():
    while True:
        try:
            if os.fork() == 0: time.sleep(600)
        except OSError:
            os._exit(1)
`, func(s *sandbox.Spec) { s.Limits.Pids = 20 })
	_, _ = call(t.Context(), i, "/bomb")
	if exit := waitExit(t, i); exit.Reason != sandbox.TooManyProcesses {
		t.Errorf("exit %+v", exit)
	}
}

func tmpIsBounded(t *testing.T, b *bench) {
	i := b.launch(t, `
import errno, os
@app.get("/")
def fill():
    found = {}
    try:
        with open("/tmp/big", "wb") as f:
            while True: f.write(bytes(1 << 20))
    except OSError as e: found["bytes"] = errno.errorcode[e.errno]
    os.unlink("/tmp/big")
    try:
        for n in range(1 << 20): open("/tmp/%d" % n, "w").close()
    except OSError as e: found["inodes"] = errno.errorcode[e.errno]
    return found
`, func(s *sandbox.Spec) { s.Limits.TmpBytes = 16 << 20 })
	got := get[map[string]string](t, i, "/")
	if got["bytes"] != "ENOSPC" || got["inodes"] != "ENOSPC" {
		t.Errorf("filling /tmp ended in %v", got)
	}
}

func diskFull(t *testing.T, b *bench) {
	const fill = `
def fill():
    with open("/tmp/big", "wb") as f:
        while True: f.write(bytes(1 << 16))
`
	small := func(s *sandbox.Spec) { s.Limits.TmpBytes = 8 << 20 }
	i := b.launch(t, fill+`
import os
@app.get("/fill")
def route():
    try: fill()
    except OSError: os._exit(1)
`, small)
	_, _ = call(t.Context(), i, "/fill")
	if exit := waitExit(t, i); exit.Reason != sandbox.DiskFull {
		t.Errorf("exit %+v", exit)
	}
	_, err := b.try(t, fill+"fill()", func(s *sandbox.Spec) { s.Limits.TmpBytes = 1 << 20 })
	var exit *sandbox.Exit
	if !errors.As(err, &exit) || exit.Reason != sandbox.DiskFull {
		t.Errorf("at its start: %v", err)
	}
}
