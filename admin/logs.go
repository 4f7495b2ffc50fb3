package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"apibuilder/logs"
	"apibuilder/store"
)

// MaxTail is the most of the newest lines that a request gets.
const MaxTail = 100_000

// defaultTail is the number of newest lines that a request without one gets.
const defaultTail = 100

// Logs is where an API's log is read; logs.Book is one.
type Logs interface {
	Read(ctx context.Context, apiID string, f logs.Filter, n int) ([]logs.Line, error)
	// Follow returns the same, and who gets the lines that come after it.
	Follow(ctx context.Context, apiID string, f logs.Filter, n int) ([]logs.Line, *logs.Follower, error)
}

// LogLine is one line of GET /api/v1/apis/{api}/logs. Text is untrusted, and so are a program's level and request.
type LogLine struct {
	Time    time.Time `json:"time"`
	Version int       `json:"version"` // 0: of none
	Source  string    `json:"source"`  // program; else the platform's part that says it: sandbox, gateway, deploy, build, egress, server
	Stream  string    `json:"stream"`  // of the program: stdout or stderr; else the source
	Level   string    `json:"level,omitempty"`
	Request string    `json:"request,omitempty"` // id of the request that it belongs to
	Event   string    `json:"event,omitempty"`   // of the platform: one word for what the line is about
	Text    string    `json:"text"`
}

func logLineOut(l logs.Line) LogLine {
	return LogLine{
		Time: l.Time, Version: l.Version, Source: l.Source(), Stream: l.Stream, Level: l.Level, Request: l.Request, Event: l.Event,
		Text: l.Text,
	}
}

var logParameters = []parameter{
	{name: "limit", usage: "newest lines to begin with", kind: "integer", most: MaxTail},
	{name: "tail", usage: "the same, as it was called before", kind: "integer", most: MaxTail},
	{name: "follow", usage: "go on with the lines that come", kind: "boolean"},
	sinceParameter,
	{name: "until", usage: "before this time; with follow, until then", kind: "date-time"},
	{name: "level", usage: "at least of this level: " + strings.Join(logs.Levels, ", ")},
	{name: "grep", usage: "whose text this regular expression matches, in RE2's syntax"},
	{name: "request", usage: "that belong to the request with this id"},
	{name: "stream", usage: "of these streams of the program, apart by commas: " + strings.Join(logs.Streams, ", ")},
	{name: "source", usage: "from these sources, apart by commas: " + strings.Join(logs.Sources, ", ")},
	{name: "version", usage: "of this version", kind: "integer", most: maxVersion},
}

const maxVersion = 1 << 30

// readLogs streams one JSON value a line: the newest lines, and with follow=true those that come.
func (s *Server) readLogs(w http.ResponseWriter, r *http.Request) (any, error) {
	api, err := s.api(r.Context(), r.PathValue("api"))
	if err != nil {
		return nil, err
	}
	filter, n, err := logQuery(r)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("follow") == "true" && r.Method != http.MethodHead {
		return s.followLogs(w, r, api, filter, n)
	}
	end, err := callerOf(r.Context()).visit.search(r.Context())
	if err != nil {
		return nil, err
	}
	lines, err := s.logs.Read(r.Context(), api.ID, filter, n)
	end()
	if err != nil {
		return nil, logError(err)
	}
	_, err = sendTail(w, r, lines)
	return written, err
}

// sendTail begins an answer with lines that are in memory. They count until they are taken, all of them in a bounded time.
func sendTail(w http.ResponseWriter, r *http.Request, lines []logs.Line) (*stream, error) {
	const each = 200 // bytes of a line beside its text
	bytes := int64(len(lines)) * each
	for _, line := range lines {
		bytes += int64(len(line.Text))
	}
	visit := callerOf(r.Context()).visit
	if err := visit.hold(r.Context(), bytes); err != nil {
		return nil, err
	}
	defer visit.let()
	stream, patient := newStream(w), patientOf(w)
	patient.within(timeFor(bytes))
	defer patient.within(0)
	for _, line := range lines {
		if !stream.send(logLineOut(line)) {
			break
		}
	}
	return stream, nil
}

func (s *Server) followLogs(w http.ResponseWriter, r *http.Request, api store.API, filter logs.Filter, n int) (any, error) {
	ctx, stop := s.whileSeen(r.Context(), api)
	defer stop()
	if !filter.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, filter.Until)
		defer cancel()
	}
	end, err := callerOf(r.Context()).visit.search(r.Context())
	if err != nil {
		return nil, err
	}
	tail, follower, err := s.logs.Follow(r.Context(), api.ID, filter, n)
	end()
	if err != nil {
		return nil, logError(err)
	}
	defer follower.Close()
	stream, err := sendTail(w, r, tail)
	if err != nil {
		return nil, err
	}
	for {
		line, more := follower.Next(ctx)
		if !more || !stream.send(logLineOut(line)) {
			return written, nil
		}
	}
}

func logError(err error) error {
	switch {
	case errors.Is(err, logs.ErrTooLong):
		return &requestError{"search_too_long", "the search took too long and was given up", "narrow it with since and until, or give a simpler pattern"}
	case errors.Is(err, logs.ErrBusy):
		return &requestError{"too_many", err.Error(), "end one of those that follow it"}
	}
	return err
}

// logQuery reads which lines are asked for.
func logQuery(r *http.Request) (f logs.Filter, n int, err error) {
	query := r.URL.Query()
	if n, err = number(r, "tail", defaultTail, MaxTail); err == nil {
		n, err = number(r, "limit", n, MaxTail)
	}
	if err == nil {
		f.Version, err = number(r, "version", 0, maxVersion)
	}
	if err == nil {
		f.Since, err = timeIn(r, "since")
	}
	if err == nil {
		f.Until, err = timeIn(r, "until")
	}
	if err == nil {
		f.Streams, err = namesIn(query, "stream", logs.Streams)
	}
	if err == nil {
		f.Sources, err = namesIn(query, "source", logs.Sources)
	}
	if text := query.Get("level"); err == nil && text != "" {
		f.Level, err = logs.ParseLevel(text)
	}
	if text := query.Get("grep"); err == nil && text != "" {
		f.Pattern, err = logs.ParsePattern(text)
	}
	f.Request = query.Get("request")
	if wrong, ok := errors.AsType[*logs.Error](err); ok {
		err = badRequest(wrong.Field+": "+wrong.Message, wrong.Remedy)
	}
	if err == nil && !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		err = badRequest("until is not after since: no line is between them", "give a later one, or leave one out")
	}
	return f, n, err
}

// namesIn reads names apart by commas; none: nil.
func namesIn(query url.Values, name string, known []string) ([]string, error) {
	if query.Get(name) == "" {
		return nil, nil
	}
	names := strings.Split(query.Get(name), ",")
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, badRequest(fmt.Sprintf("%s=%q is not known", name, n), "use "+strings.Join(known, ", "))
		}
	}
	return names, nil
}
