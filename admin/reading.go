package admin

import (
	"fmt"
	"net/http"
	"strconv"

	"apibuilder/store"
)

// Newest lines and records that a request without a number gets, and the most that one gets.
const (
	defaultTail, maxTail = 100, 100000
	maxUsage             = 10000
)

// readLogs streams one JSON value a line: the newest lines, and with follow=true those that come.
func (s *Server) readLogs(w http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	n, err := number(r, "tail", defaultTail, maxTail)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("follow") == "true" && r.Method != http.MethodHead {
		return s.followLogs(w, r, api, n)
	}
	lines, err := s.logs.Tail(api.ID, n)
	if err != nil {
		return nil, err
	}
	stream := newStream(w)
	for _, line := range lines {
		stream.send(line)
	}
	return written, nil
}

func (s *Server) followLogs(w http.ResponseWriter, r *http.Request, api store.API, n int) (any, error) {
	tail, lines, end, err := s.logs.Follow(api.ID, n)
	if err != nil {
		return nil, err
	}
	defer end()
	stream := newStream(w)
	for _, line := range tail {
		stream.send(line)
	}
	for {
		select {
		case line, more := <-lines:
			if !more || !stream.send(line) {
				return written, nil
			}
		case <-r.Context().Done():
			return written, nil
		}
	}
}

func number(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, badRequest(fmt.Sprintf("%s=%q is not a number from 0 to %d", name, text, most), "leave it out, or give one")
	}
	return n, nil
}
