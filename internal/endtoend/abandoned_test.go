package endtoend

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAbandonedRequestsAreWithTheProgram: consumers that lose patience and ask again do not get a program more requests at a time than
// its author allows.
func TestAbandonedRequestsAreWithTheProgram(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	for name, first := range bothProtocols {
		t.Run(name, func(t *testing.T) {
			d := s.deploy(strings.ToLower(name)+"-busy", first+`
import threading, time
from fastapi import FastAPI

app = FastAPI()
lock, now, most, done = threading.Lock(), 0, 0, 0

@app.get("/work")
def work():
    global now, most, done
    with lock:
        now += 1
        most = max(most, now)
    time.sleep(0.3)
    with lock:
        now -= 1
        done += 1

@app.get("/seen")
def seen():
    return [most, done]
`, "", "--set", "max-requests=2")
			for range 6 {
				w := d.dial(t)
				w.request("GET", "/work", "\r\n")
				time.Sleep(60 * time.Millisecond) // the time that it is with the program, or in the queue
				_ = w.Close()
			}
			seen := string(d.get(t, "/seen").body)
			most, _, _ := strings.Cut(strings.Trim(seen, "[]"), ",")
			if n, err := strconv.Atoi(most); err != nil || n < 1 || n > 2 {
				t.Errorf("at most, and done: %s; want two at most", seen)
			}
		})
	}
}

// TestAProgramThatHasEndedARequestHoldsNoPlace: whatever it has left of it.
func TestAProgramThatHasEndedARequestHoldsNoPlace(t *testing.T) {
	s := serve(t, dataDir(t), "--no-example")
	for name, first := range bothProtocols {
		d := s.deploy(strings.ToLower(name)+"-ended", first+`
import os, time
from fastapi import FastAPI, Response

app = FastAPI()

@app.get("/forks")
def forks():
    if not os.fork():
        time.sleep(50)
        os._exit(0)
    time.sleep(0.3)

@app.post("/unread")
def unread():
    return Response(bytes(8_000_000))

@app.get("/closes")
def closes():
    return Response(bytes(8_000_000), headers={"connection": "close"})

@app.get("/next")
def next():
    return "next"
`, "", "--set", "max-requests=1")
		for what, c := range map[string]struct {
			method, path, rest string
			answers            bool
		}{
			"a process that it has forked": {"GET", "/forks", "\r\n", false},
			"a body that it does not read": {"POST", "/unread", "Content-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), true},
			"a connection that it closes":  {"GET", "/closes", "\r\n", true},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				w := d.dial(t)
				w.request(c.method, c.path, c.rest)
				if c.answers {
					w.head(c.method)
				} else {
					time.Sleep(50 * time.Millisecond) // until the program has it
				}
				_ = w.Close()
				begin := time.Now()
				d.get(t, "/next")
				if took := time.Since(begin); took > 20*time.Second { // the time for an answer is a minute
					t.Errorf("the next one waited %v", took)
				}
			})
		}
	}
}
