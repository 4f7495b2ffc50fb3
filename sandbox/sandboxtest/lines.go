package sandboxtest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"apibuilder/sandbox"
)

const printsInRequests = `
import asyncio, logging, sys, threading
from concurrent.futures import ThreadPoolExecutor

class Plain(logging.Handler):
    def emit(self, record):
        sys.stderr.write("by a handler: %s\n" % record.getMessage())

log = logging.getLogger("quiet")
log.addHandler(Plain())
log.propagate = False
print("outside")

@app.get("/together/{name}")
async def together(name: str):
    for n in range(20):
        print("together", name)
        await asyncio.sleep(0)
    return {}

@app.get("/thread/{name}")
def thread(name: str):
    print("in the pool", name)
    print("first half", end=" ")
    sys.stdout.flush()
    print("second half", name)
    other = threading.Thread(target=print, args=("of its own", name))
    other.start()
    other.join()
    log.error("several\nlines")
    return {}
`

// linesKnowTheirRequest calls a program as the gateway does, several times at once, and looks whose its lines are.
func linesKnowTheirRequest(t *testing.T, b *bench) {
	i := b.launch(t, printsInRequests)
	if l := b.waitLine(t, "outside"); l.Request != "" || l.Level != "" {
		t.Errorf("outside of requests: %+v", l)
	}
	id := func(n int) string { return fmt.Sprintf("01890a5d-ac96-774b-bcce-b3020000000%d", n) }
	ask := func(path string, n int) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://sandbox%s/%d", path, n), nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("X-Request-Id", id(n))
		response, err := i.Transport().RoundTrip(r)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s: %v, %v", path, response, err)
			return
		}
		_ = response.Body.Close()
	}
	var all sync.WaitGroup
	for n := range 5 {
		all.Go(func() { ask("/together", n) })
	}
	all.Wait()
	for range 100 {
		l := b.waitLine(t, "together")
		var n int
		if _, err := fmt.Sscanf(l.Text, "together %d", &n); err != nil || l.Request != id(n) {
			t.Errorf("%+v, %v", l, err)
		}
	}
	ask("/thread", 7)
	for _, want := range []sandbox.Line{
		{Text: "in the pool 7", Request: id(7)},
		{Text: "first half second half 7", Request: id(7)},
		{Text: "of its own 7"},
	} {
		if l := b.waitLine(t, want.Text); l.Text != want.Text || l.Request != want.Request || l.Level != "" {
			t.Errorf("%+v, want %+v", l, want)
		}
	}
	ask("/thread", 8)
	for _, want := range []string{"by a handler: several", "lines"} {
		if l := b.waitLine(t, want); l.Request != id(8) && l.Request != id(7) || l.Level != sandbox.LevelError || l.Stream != "stderr" || l.Text != want {
			t.Errorf("%+v", l)
		}
	}
}

const logsByItself = `
import logging

class Final(logging.Handler):
    closed = False
    def emit(self, record):
        if not self.closed: print("final:", record.getMessage())
    def close(self):
        self.closed = True
        super().close()

class Own(logging.Handler):
    def emit(self, record): print("%s:" % self.name, record.getMessage())

mine, error = logging.getLogger("mine"), logging.getLogger("uvicorn.error")
mine.setLevel(logging.INFO)
mine.addHandler(Final())
mine.addHandler(logging.FileHandler("/tmp/log", mode="w"))
for name in ("uvicorn", "uvicorn.error"):
    own = Own()
    own.name = name
    logging.getLogger(name).addHandler(own)
error.setLevel(logging.DEBUG)

@app.get("/")
def root():
    mine.info("kept")
    error.info("said")
    error.debug("detail")
    return open("/tmp/log").read()

@app.websocket("/socket")
async def socket(s: WebSocket):
    await s.accept()
    await s.close()
`

// loggersStay shows that a program's handlers and levels are as it set them up while it was imported, on uvicorn's loggers too, and
// that uvicorn's own words are not in its log.
func loggersStay(t *testing.T, b *bench) {
	i := b.launch(t, logsByItself)
	if got := get[string](t, i, "/"); got != "kept\n" {
		t.Errorf("the program's own file holds %q", got)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	response, err := i.Transport().RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	_ = response.Body.Close()
	i.Stop(context.Background(), 30*time.Second)
	var got []string
	for len(b.lines) > 0 {
		got = append(got, (<-b.lines).Text)
	}
	slices.Sort(got)
	want := []string{
		"DEBUG:    detail", "INFO:     said", "final: kept", "uvicorn.error: detail", "uvicorn.error: said", "uvicorn: detail", "uvicorn: said",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log is %q, want %q", got, want)
	}
}

// requestsAreLogged shows that uvicorn logs no requests, unless a program has changed how it does: it finds a handler to change.
func requestsAreLogged(t *testing.T, b *bench) {
	for _, c := range []struct{ name, how, want string }{
		{"as it is", `access.addFilter(lambda record: True)`, ""},
		{"another format", `access.handlers[0].setFormatter(logging.Formatter("own format: %(message)s"))`, `own format: 192.0.2.7:0 - "GET /run/api_suite/asked HTTP/1.1" 200`},
		{"a handler more", `access.addHandler(logging.StreamHandler())`, `192.0.2.7:0 - "GET /run/api_suite/asked HTTP/1.1" 200`},
		{"by another logger's", `access.handlers.clear(); access.propagate = True`, `INFO:     192.0.2.7:0 - "GET /run/api_suite/asked HTTP/1.1" 200`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := b.launch(t, "import logging\naccess = logging.getLogger(\"uvicorn.access\")\n"+c.how+"\n"+`
@app.get("/asked")
def asked():
    print("answered")
`)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox/asked", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			response, err := i.Transport().RoundTrip(r)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", response, err)
			}
			_ = response.Body.Close()
			i.Stop(context.Background(), 30*time.Second)
			var got []string
			for len(b.lines) > 0 {
				if text := (<-b.lines).Text; strings.Contains(text, "asked") {
					got = append(got, text)
				}
			}
			if joined := strings.Join(got, "; "); c.want == "" && joined != "" || !strings.Contains(joined, c.want) {
				t.Errorf("the log is %q, want %q", got, c.want)
			}
		})
	}
}

// errorsAreLogged shows that the traceback of a request is in the log of a program that has disabled uvicorn's loggers unasked.
func errorsAreLogged(t *testing.T, b *bench) {
	i := b.launch(t, `
import logging.config
logging.config.dictConfig({"version": 1})
@app.get("/")
def root(): return 1 / 0
`)
	if _, err := call(t.Context(), i, "/"); err == nil {
		t.Error("the request succeeds")
	}
	if l := b.waitLine(t, "ZeroDivisionError"); l.Level != sandbox.LevelError {
		t.Errorf("%+v", l)
	}
}
