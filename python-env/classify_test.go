package pythonenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What uv 0.13.9 printed.
const (
	saidConflict = `error: No solution found when resolving dependencies
  cause: Because fastapi==0.95.0 depends on starlette>=0.26.1,<0.27.0 and you require fastapi==0.95.0, we can conclude that you require starlette>=0.26.1,<0.27.0.
         And because you require starlette==0.40, we can conclude that your requirements are unsatisfiable.`
	saidUnknown = `error: No solution found when resolving dependencies
  cause: Because six was not found in the package registry and you require six, we can conclude that your requirements are unsatisfiable.`
	saidNoVersion = `error: No solution found when resolving dependencies
  cause: Because there is no version of six==99.0 and you require six==99.0, we can conclude that your requirements are unsatisfiable.`
	saidNoWheel = `error: No solution found when resolving dependencies
  cause: Because all versions of six have no usable wheels and you require six, we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for ` + "`six`" + ` because building from source is disabled for all packages (i.e., with ` + "`--no-build`)"
	saidOtherPlatform = `error: No solution found when resolving dependencies
  cause: Because six<=302 has no wheels with a matching Python ABI tag (e.g., ` + "`cp311`" + `) and only the following versions of six are available:
             six<=302
             six>=303
         we can conclude that six<303 cannot be used.
         And because six>=303 has no wheels with a matching platform tag (e.g., ` + "`manylinux_2_36_x86_64`" + `) and you require six, we can conclude that your requirements are unsatisfiable.`
	saidHash = "error: Failed to download `six==1.16.0`\n  cause: Hash mismatch for `six==1.16.0`\n\n         Expected:\n           sha256:aa"
	said401  = saidUnknown + `

hint: An index URL (http://127.0.0.1/simple) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)`
	said403 = saidUnknown + `

hint: An index (http://127.0.0.1/simple) returned a 403 Forbidden error. Check that the index URL is correct and the credentials are valid.`
	said503 = `error: Failed to fetch: http://127.0.0.1/simple/six/
  cause: HTTP status server error (503 Service Unavailable) for url (http://127.0.0.1/simple/six/)`
	saidRefused = `error: Request failed after 3 retries in 9.6s
  cause: Failed to fetch: http://127.0.0.1:9/simple/six/
  cause: tcp connect error
  cause: Connection refused (os error 111)`
	saidNonsense = "error: Missing `Content-Type` header for `http://127.0.0.1/simple/six/`"
	saidMarker   = "error: Couldn't parse requirement in `-` at position 0\n  cause: Expected a valid marker operator"
	saidName     = "error: Failed to download `six==1.16.0`\n  cause: Failed to extract archive: six.whl\n  cause: Archive contains unacceptable filename: a"
	saidEncoding = "error: Failed to download `six==1.16.0`\n  cause: Failed to extract archive: six.whl\n" +
		"  cause: ZIP local header filename at offset 0 does not use UTF-8 encoding"
	saidLong = "error: Failed to download `six==1.16.0`\n  cause: Failed to extract archive: six.whl\n" +
		"  cause: I/O operation failed during extraction\n  cause: failed to open file `/x`: File name too long (os error 36)"
	saidFull = "error: Failed to download `six==1.16.0`\n  cause: Failed to extract archive: six.whl\n" +
		"  cause: I/O operation failed during extraction\n  cause: No space left on device (os error 28)"
	saidQuota = "error: Failed to fetch: http://127.0.0.1/simple/six/\n  cause: Disk quota exceeded (os error 122)"
	saidPanic = "thread 'main' panicked"
)

func TestUVsWordsAreUnderstood(t *testing.T) {
	exit := exec.Command("/bin/false").Run()
	reqs := []requirement{{line: 7, name: "six", text: "six"}}
	cases := []struct {
		said, reason string
		line         int
	}{
		{saidConflict, ReasonConflict, 0},
		{saidUnknown, ReasonNotFound, 7},
		{saidNoVersion, ReasonNotFound, 7},
		{saidNoWheel, ReasonNoWheel, 7},
		{saidOtherPlatform, ReasonNoWheel, 7},
		{saidHash, ReasonHashMismatch, 7},
		{said401, ReasonUnreachable, 0},
		{said403, ReasonUnreachable, 0},
		{said503, ReasonUnreachable, 0},
		{saidRefused, ReasonUnreachable, 0},
		{saidNonsense, ReasonUnreachable, 0},
		{saidMarker, ReasonRefused, 0},
		{saidName, ReasonFailed, 7},
		{saidEncoding, ReasonFailed, 7},
		{saidLong, ReasonFailed, 7},
		{saidFull, ReasonTooLarge, 0},
		{saidQuota, ReasonTooLarge, 0},
		{saidPanic, ReasonFailed, 0},
		{"", ReasonFailed, 0},
	}
	for _, c := range cases {
		var e *BuildError
		if !errors.As(uvError("resolve", exit, c.said, reqs), &e) {
			t.Fatal("not a BuildError")
		}
		if e.Reason != c.reason || e.Line != c.line || e.Output != c.said || e.Message == "" || strings.Contains(e.Message, "$1") ||
			strings.Contains(e.Message, "\n") {
			t.Errorf("%.80q: %s at line %d: %s", c.said, e.Reason, e.Line, e.Message)
		}
	}
}

// TestADiskWithoutRoom has what this process writes itself find no room, in a disk or in a quota.
func TestADiskWithoutRoom(t *testing.T) {
	for _, cause := range []error{unix.ENOSPC, unix.EDQUOT} {
		err := fmt.Errorf("write byte-code: %w", &os.PathError{Op: "write", Path: "x", Err: cause})
		var e *BuildError
		if got := New(Config{}).explain(err); !errors.As(got, &e) || e.Reason != ReasonTooLarge {
			t.Errorf("%v", got)
		}
	}
}

func TestWhatIsOnlyFasterIsGivenUp(t *testing.T) {
	cfg := smallConfig(t, tempDir(t)+"/envs")
	fakeUV(t, &cfg, `if [ "$2" = compile ]; then
	text=$(cat)
	case "$text" in *httptools*) echo 'hint: Wheels are required for `+"`httptools`"+` because' >&2; exit 1;; esac
	echo "$text" | $REAL "$@"
	exit $?
fi`)
	b := started(t, cfg)
	if env := ensure(t, b, ""); strings.Contains(env.Lock, "httptools") || !strings.Contains(env.Lock, "uvicorn==") {
		t.Errorf("the lock is\n%s", env.Lock)
	}
	_, err := b.Ensure(t.Context(), Request{Requirements: "httptools"})
	var e *BuildError
	if !errors.As(err, &e) || e.Reason != ReasonNoWheel || e.Line != 1 {
		t.Errorf("when the author asks for it: %v", err)
	}
}

func TestParseLockHoldsUVToItsWord(t *testing.T) {
	for _, text := range []string{"six==1.0\n", "six @ https://x --hash=" + sum, "six==1.0 --hash=md5:ab", "-e . --hash=" + sum, "six==1.0 --hash=" + sum + " --x"} {
		if l, err := parseLock(text, nil); err == nil {
			t.Errorf("%q is taken for a lock: %q", text, l.text)
		}
	}
	l, err := parseLock("b==1 \\\n    --hash="+sum+"\na==2 \\\n    --hash="+sum+"\n", nil)
	if err != nil || l.text != "a==2 --hash="+sum+"\nb==1 --hash="+sum+"\n" {
		t.Errorf("%q, %v", l.text, err)
	}
}
