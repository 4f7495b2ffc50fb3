package nsjail_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"apibuilder/internal/testenv"
	"apibuilder/sandbox"
)

const oldestProgram = `
import fastapi, logging, uvicorn
from contextlib import asynccontextmanager
from pydantic import BaseModel

started = []

@asynccontextmanager
async def lifespan(app):
    started.append(True)
    logging.getLogger("uvicorn.error").info("begun")
    yield

app = fastapi.FastAPI(lifespan=lifespan)

class Item(BaseModel):
    name: str

@app.get("/")
def root(request: fastapi.Request):
    return [fastapi.__version__, uvicorn.__version__, request.scope["root_path"], bool(started)]

@app.put("/items/{n}")
def put(n: int, item: Item):
    return {"n": n, "name": item.name}
`

// TestTheOldestFastAPIAndUvicorn runs a program with the oldest versions that are promised to work.
func TestTheOldestFastAPIAndUvicorn(t *testing.T) {
	spec := testenv.Spec(t, "fastapi==0.95.0\nuvicorn==0.20.0\n", "3.11")
	spec.API, spec.Code, spec.RootPath, spec.Describe = "api_oldest", oldestProgram, "/run/api_oldest", true
	log := make(chan string, 100)
	i := launch(t, sandbox.ManagerConfig{
		Driver: testenv.Driver(t), StartTimeout: 5 * time.Minute,
		OnOutput: func(_ string, _ int, line sandbox.Line) { log <- line.Text },
	}, spec)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/", "", `["0.95.0","0.20.0","/run/api_oldest",true]`},
		{"PUT", "/items/3", `{"name": "cup"}`, `{"n":3,"name":"cup"}`},
		{"PUT", "/items/x", `{}`, `type_error.integer`},
		{"GET", "/docs", "", "/run/api_oldest/openapi.json"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := i.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s %s: %s, %v; want %s", c.method, c.path, text, err, c.want)
		}
	}
	var paths []string
	for _, r := range i.Routes() {
		paths = append(paths, r.Path)
	}
	if got := strings.Join(paths, " "); !strings.Contains(got, "/items/{n}") {
		t.Errorf("the routes are %s", got)
	}
	i.Stop(t.Context(), 30*time.Second)
	close(log)
	if first, second := <-log, <-log; first != "INFO:     begun" || second != "" {
		t.Errorf("the log begins with %q, %q", first, second)
	}
}
