package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"apibuilder/store"
)

// Newest lines and records that a request without a number gets, and the most that one gets.
const (
	defaultTail, maxTail   = 100, 100000
	defaultUsage, maxUsage = 100, 10000
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
	if r.URL.Query().Get("follow") == "true" {
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

func (s *Server) readUsage(_ http.ResponseWriter, r *http.Request) (any, error) {
	query := r.URL.Query()
	filter := store.UsageFilter{ID: query.Get("id")}
	var err error
	if filter.Limit, err = number(r, "limit", defaultUsage, maxUsage); err != nil {
		return nil, err
	}
	if filter.Since, err = sinceIn(r); err != nil {
		return nil, err
	}
	if query.Get("api") == "" && !callerOf(r.Context()).seesAll() {
		return nil, badRequest("this token sees the usage of its own APIs only", "name one with api=NAME")
	}
	if name := query.Get("api"); name != "" {
		api, err := s.api(r.Context(), name)
		if err != nil {
			return nil, err
		}
		filter.APIID = api.ID
	}
	if s.cfg.Flush != nil {
		if err := s.cfg.Flush(r.Context()); err != nil {
			return nil, fmt.Errorf("bring usage records into the store: %w", err)
		}
	}
	records, err := s.store.Usage(r.Context(), filter)
	if err != nil {
		return nil, err
	}
	total, err := s.store.CountUsage(r.Context(), filter.APIID, filter.Since)
	return Usage{Total: total, Records: each(records, usageOut)}, err
}

// sinceIn reads the time from which on something is asked for; zero: from the beginning.
func sinceIn(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, badRequest(fmt.Sprintf("since=%q is no time", text), "give one like 2024-05-01T12:00:00Z")
	}
	return at, nil
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
