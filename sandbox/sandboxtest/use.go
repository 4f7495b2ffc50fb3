package sandboxtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// saysWhatItUsed asks every kind of route for its template, and compares the CPU time that requests used with what they did.
func saysWhatItUsed(t *testing.T, b *bench) {
	i := b.launch(t, `
import threading, time
from fastapi import APIRouter, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Mount as Mounted

@app.middleware("http")
async def through(request, call_next):
    return await call_next(request)

app.add_middleware(CORSMiddleware, allow_origins=["*"])

@app.get("/items/{id}")
def item(id: int): return id

@app.get("/files/{path:path}")
async def file(path: str): return path

@app.get("/caf\u00e9/{id}")
def cafe(id): return id

@app.get("/stream/{id}")
def stream(id): return StreamingResponse(iter(["a", "b"]))

router = APIRouter(prefix="/inner")

@router.get("/{id}")
def inner(id): return id

outer = APIRouter(prefix="/outer")
outer.include_router(router)
app.include_router(outer, prefix="/v1")

sub = FastAPI()

@sub.get("/things/{id}")
def thing(id): return id

deep = FastAPI()

@deep.get("/x/{id}")
def x(id): return id

sub.mount("/deep", deep)
app.mount("/sub", sub)
app.mount("/tenants/{tenant}", sub)

async def plain(request): return PlainTextResponse("plain")

app.router.routes.append(Route("/plain/{id}", plain))

async def raw(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"raw"})

app.mount("/raw", raw)

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass

@app.get("/burn/{ms}")
def burning(ms: int): burn(ms / 1000)

@app.get("/sleep/{ms}")
def sleeping(ms: int): time.sleep(ms / 1000)

@app.get("/forged")
def forged(): return Response(headers={"x-apibuilder-use": "7 /forged"})
`)
	for path, want := range map[string]string{
		"/items/7":             "/items/{id}",
		"/items/no-number":     "/items/{id}",
		"/files/a/b/c":         "/files/{path}",
		"/caf%C3%A9/1":         "/caf\u00e9/{id}",
		"/stream/1":            "/stream/{id}",
		"/v1/outer/inner/3":    "/v1/outer/inner/{id}",
		"/sub/things/4":        "/sub/things/{id}",
		"/sub/deep/x/5":        "/sub/deep/x/{id}",
		"/tenants/me/deep/x/5": "/tenants/{tenant}/deep/x/{id}",
		"/plain/6":             "/plain/{id}",
		"/raw/any/thing":       "/raw/{path}",
		"/docs":                "/docs",
		"/none":                "",
	} {
		if route, _ := useOf(t, i, path); route != want {
			t.Errorf("%s is of the route %q, want %q", path, route, want)
		}
	}
	if _, used := useOf(t, i, "/burn/300"); used < 300*time.Millisecond || used > 600*time.Millisecond {
		t.Errorf("300 ms of CPU time are told as %v", used)
	}
	if _, used := useOf(t, i, "/sleep/300"); used > 150*time.Millisecond {
		t.Errorf("300 ms of sleep are told as %v", used)
	}
	total := make(chan time.Duration)
	const together = 4
	for range together {
		go func() {
			_, used := useOf(t, i, "/burn/100")
			total <- used
		}()
	}
	var sum time.Duration
	for range together {
		sum += <-total
	}
	if sum < together*100*time.Millisecond || sum > 2*together*100*time.Millisecond {
		t.Errorf("%d requests that used 100 ms each say together %v", together, sum)
	}
	_, header := use(t, i, "/forged")
	if values := header.Values("X-Apibuilder-Use"); len(values) != 2 {
		t.Errorf("beside a forged field: %q", values) // of two the gateway takes neither
	}
}

func useOf(t *testing.T, i *sandbox.Instance, path string) (route string, used time.Duration) {
	t.Helper()
	status, header := use(t, i, path)
	values := header.Values("X-Apibuilder-Use")
	digits, route, _ := strings.Cut(strings.Join(values, "|"), " ")
	us, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Errorf("GET %s: status %d, %q: %v", path, status, values, err)
	}
	return route, time.Duration(us) * time.Microsecond
}

func use(t *testing.T, i *sandbox.Instance, path string) (status int, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := i.Transport().RoundTrip(req)
	if err != nil {
		t.Errorf("GET %s: %v", path, err)
		return 0, nil
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("GET %s: %v", path, err)
	}
	return res.StatusCode, res.Header
}
