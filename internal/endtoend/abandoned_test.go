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
				time.Sleep(20 * time.Millisecond) // the time that it is with the program, or in the queue
				_ = w.Close()
			}
			begin := time.Now()
			seen := string(d.get(t, "/seen").body)
			most, done, _ := strings.Cut(strings.Trim(seen, "[]"), ",")
			if n, err := strconv.Atoi(most); err != nil || n != 2 || done == "0" {
				t.Errorf("at most, and done: %s after %v; want 2, and the first to be done", seen, time.Since(begin))
			}
		})
	}
}
