package client_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

// TestFollowingGoesOnAtTheNextServer breaks the first answer off before its first line, ends one, breaks another off, after which the
// server is waited for anew, and repeats in the last one what was told at the last moment.
func TestFollowingGoesOnAtTheNextServer(t *testing.T) {
	first, last := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 7, time.UTC)
	line := func(at time.Time, text string) admin.LogLine { return admin.LogLine{Time: at, Text: text} }
	answers := [][]admin.LogLine{
		nil,
		{line(first, "a"), line(last, "b"), line(last, "twice")},
		nil,
		{line(last, "b"), line(last, "twice"), line(last, "twice"), line(last.Add(1), "c")},
	}
	var asked []url.Values
	c := remote(t, func(w http.ResponseWriter, r *http.Request) {
		n := len(asked)
		asked = append(asked, r.URL.Query())
		switch {
		case n >= len(answers):
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"type":"not_found","status":404,"title":"there is no API"}`))
		case answers[n] == nil:
			_ = http.NewResponseController(w).Flush() // else the request is sent again
			panic(http.ErrAbortHandler)
		default:
			for _, l := range answers[n] {
				_ = json.NewEncoder(w).Encode(l)
			}
		}
	})
	var told []string
	away := 0
	err := client.FollowLogs(t.Context(), c, "api", url.Values{"limit": {"5"}, "level": {"info"}}, func() { away++ }, func(l admin.LogLine) error {
		told = append(told, l.Text)
		return nil
	})
	if want := []string{"a", "b", "twice", "twice", "c"}; err != nil || away != 2 || !slices.Equal(told, want) {
		t.Errorf("told %q, want %q; away %d times; %v", told, want, away, err)
	}
	if len(asked) != 5 || asked[0].Get("limit") != "5" || asked[1].Has("since") || asked[3].Get("since") != last.Format(time.RFC3339Nano) ||
		asked[3].Get("level") != "info" {
		t.Errorf("asked %v", asked)
	}
}

// TestFollowingEnds with the time that it was for, with an error of who is told, and with a server that refuses at once.
func TestFollowingEnds(t *testing.T) {
	refused := false
	c := remote(t, func(w http.ResponseWriter, _ *http.Request) {
		if refused {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"type":"too_many","status":429,"title":"too many follow this log"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(admin.LogLine{Text: "a"})
	})
	follow := func(query url.Values, each error) error {
		return client.FollowLogs(t.Context(), c, "api", query, func() { t.Error("away") }, func(admin.LogLine) error { return each })
	}
	if err := follow(url.Values{"until": {"2026-01-02T03:04:05Z"}}, nil); err != nil {
		t.Error(err)
	}
	if err := follow(url.Values{}, http.ErrBodyNotAllowed); err != http.ErrBodyNotAllowed { //nolint:errorlint // as it was
		t.Error(err)
	}
	// An answer that ends before its time has ended with its server.
	n, until := 0, time.Now().Add(2*time.Second)
	asked := remote(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		_ = json.NewEncoder(w).Encode(admin.LogLine{Time: until.Add(time.Duration(n)), Text: "a"})
	})
	lines := 0
	err := client.FollowLogs(t.Context(), asked, "api", url.Values{"until": {until.Format(time.RFC3339Nano)}}, func() {}, func(admin.LogLine) error {
		lines++
		return nil
	})
	if err != nil || n < 2 || lines != n || time.Now().Before(until) {
		t.Errorf("asked %d times, %d lines, %v", n, lines, err)
	}
	// It ends by the server's clock, an hour after this one's.
	later := time.Now().Add(time.Hour)
	behind := remote(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", later.UTC().Format(http.TimeFormat))
		_ = json.NewEncoder(w).Encode(admin.LogLine{Text: "a"})
	})
	query := url.Values{"until": {later.Add(-time.Minute).Format(time.RFC3339Nano)}}
	if err := client.FollowLogs(t.Context(), behind, "api", query, func() {}, func(admin.LogLine) error { return nil }); err != nil {
		t.Error(err)
	}
	refused = true
	if err := follow(url.Values{}, nil); err == nil {
		t.Error("no error of a server that refuses")
	}
}
