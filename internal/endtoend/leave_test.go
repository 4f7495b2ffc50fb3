package endtoend

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// bothProtocols are first lines of programs that are served by each of uvicorn's protocols.
var bothProtocols = map[string]string{
	"HttpToolsProtocol": "",
	"H11Protocol":       "import uvicorn.config\nuvicorn.config.HTTP_PROTOCOLS['auto'] = 'uvicorn.protocols.http.h11_impl:H11Protocol'\n",
}

// TestWhoLeavesTakesTheMemoryAlong: a program keeps nothing of consumers that left in the middle of its answer, with either
// of uvicorn's protocols.
func TestWhoLeavesTakesTheMemoryAlong(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	for name, first := range bothProtocols {
		t.Run(name, func(t *testing.T) {
			d := s.deploy(strings.ToLower(name), first+`
import gc
from fastapi import FastAPI, Response

app = FastAPI()

@app.get("/large")
def large():
    return Response(bytes(8_000_000))

@app.get("/kept")
def kept(name: str):
    gc.collect()
    return Response(str(sum(type(o).__name__ == name for o in gc.get_objects())))
`, "")
			kept := func() int {
				n, err := strconv.Atoi(string(d.get(t, "/kept?name="+name).body))
				if err != nil || n < 1 { // this request's own
					t.Fatalf("%d, %v", n, err)
				}
				return n
			}
			before := kept()
			for range 100 {
				w := d.dial(t)
				w.request("GET", "/large", "\r\n")
				w.head("GET")
				_ = w.Close()
			}
			deadline := time.Now().Add(20 * time.Second)
			for kept() > before+10 { // of which some are connections that the gateway has for later
				if time.Now().After(deadline) {
					t.Fatalf("%d connections are kept, %d were before", kept(), before)
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}
