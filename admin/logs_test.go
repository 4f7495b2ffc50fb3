package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
	"apibuilder/logs"
	"apibuilder/store"
)

func (f *fixture) print(t *testing.T, apiID string, lines ...logs.Line) {
	t.Helper()
	for _, l := range lines {
		if l.Time.IsZero() {
			l.Time = time.Now()
		}
		if err := f.book.Append(apiID, l); err != nil {
			t.Fatal(err)
		}
	}
}

// linesOf are the texts of an answer.
func linesOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var texts []string
	for d := json.NewDecoder(w.Body); d.More(); {
		var l admin.LogLine
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, l.Text)
	}
	return strings.Join(texts, " ")
}

func TestLogsAreFiltered(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	now := time.Now()
	f.print(
		t, api.ID,
		logs.Line{Time: now.Add(-2 * time.Hour), Version: 1, Stream: "stdout", Text: "old"},
		logs.Line{Time: now.Add(-time.Minute), Version: 1, Stream: "stderr", Level: "warning", Request: "r-1", Text: "warned"},
		logs.Line{Time: now.Add(-time.Minute), Version: 2, Stream: "gateway", Level: "warning", Request: "r-2", Event: "rate_limited", Text: "limited"},
		logs.Line{Time: now, Version: 2, Stream: "stdout", Level: "error", Text: "failed"},
	)
	at := func(d time.Duration) string { return url.QueryEscape(now.Add(d).UTC().Format(time.RFC3339Nano)) }
	for query, want := range map[string]string{
		"":                                "old warned limited failed",
		"tail=2":                          "limited failed",
		"limit=1":                         "failed",
		"limit=1&level=warning&version=1": "warned",
		"since=" + at(-time.Hour):         "warned limited failed",
		"until=" + at(-time.Hour):         "old",
		"since=" + at(-time.Hour) + "&until=" + at(-time.Second): "warned limited",
		"level=warning":                         "warned limited failed",
		"level=WARN":                            "warned limited failed",
		"level=critical":                        "",
		"grep=ed%24":                            "warned limited failed",
		"grep=%28%3Fi%29OLD":                    "old",
		"request=r-1":                           "warned",
		"stream=stderr":                         "warned",
		"stream=stderr,stdout":                  "old warned failed",
		"source=gateway":                        "limited",
		"source=gateway,program&version=2":      "limited failed",
		"stream=stdout&source=gateway":          "",
		"version=2&level=error&grep=f&tail=100": "failed",
	} {
		if got := linesOf(t, f.local(t, "GET", "/api/v1/apis/resize/logs?"+query, "")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	var l admin.LogLine
	if err := json.Unmarshal(f.local(t, "GET", "/api/v1/apis/resize/logs?source=gateway", "").Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	if l.Source != "gateway" || l.Event != "rate_limited" || l.Level != "warning" || l.Request != "r-2" || l.Version != 2 {
		t.Errorf("%+v", l)
	}
}

func TestWrongFiltersAreRefused(t *testing.T) {
	f := newFixture(t)
	f.api(t, "resize")
	for query, mentions := range map[string]string{
		"level=loud": "level", "grep=%28": "grep", "grep=" + strings.Repeat("a", 600): "grep", "stream=stdin": "stream", "stream=gateway": "stream",
		"source=me": "source", "since=yesterday": "since", "until=x": "until", "version=-1": "version", "version=x": "version",
		"limit=100001": "limit", "tail=x": "tail", "since=2024-05-02T00:00:00Z&until=2024-05-01T00:00:00Z": "until",
	} {
		p := wantProblem(t, f.local(t, "GET", "/api/v1/apis/resize/logs?"+query, ""), 400, "bad_request")
		if !strings.Contains(p.Detail, mentions) || p.Remedy == "" {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestLogsFollow(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	f.print(t, api.ID, logs.Line{Stream: "stdout", Text: "one"}, logs.Line{Stream: "stdout", Text: "two"})
	server := httptest.NewServer(f.Local())
	defer server.Close()
	follow := func(query string) (*http.Response, func() string) {
		response, err := server.Client().Get(server.URL + "/api/v1/apis/resize/logs?follow=true&" + query)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(response.Body)
		return response, func() string {
			var l admin.LogLine
			if err := d.Decode(&l); err != nil {
				return err.Error()
			}
			return l.Text
		}
	}
	response, next := follow("tail=1")
	if got := next(); got != "two" {
		t.Fatalf("first %q", got)
	}
	f.print(t, api.ID, logs.Line{Stream: "stdout", Text: "three"})
	if got := next(); got != "three" {
		t.Fatalf("then %q", got)
	}
	response.Body.Close()
	for range 100 { // more than may follow at a time: who has left is not counted
		response, next := follow("tail=1")
		if got := next(); got != "three" {
			t.Fatalf("first %q", got)
		}
		response.Body.Close()
	}
	response, next = follow("tail=0&level=error&until=" + url.QueryEscape(time.Now().Add(300*time.Millisecond).UTC().Format(time.RFC3339Nano)))
	f.print(t, api.ID, logs.Line{Stream: "stdout", Text: "four"}, logs.Line{Stream: "stdout", Level: "error", Text: "five"})
	if got := next() + next(); got != "fiveEOF" {
		t.Fatalf("with a filter and an end: %q", got)
	}
	response.Body.Close()
}

func TestTooManyFollowersAreTold(t *testing.T) {
	f := newFixture(t)
	api := f.api(t, "resize")
	for {
		_, follower, err := f.book.Follow(t.Context(), api.ID, logs.Filter{}, 0)
		if err != nil {
			break
		}
		defer follower.Close()
	}
	wantProblem(t, f.local(t, "GET", "/api/v1/apis/resize/logs?follow=true", ""), 429, "too_many")
}

// TestLogsAreTheOwners tries every filter on another author's log.
func TestLogsAreTheOwners(t *testing.T) {
	f := newTwo(t)
	api, _ := f.store.API(t.Context(), "of-anna")
	f.print(t, api.ID, logs.Line{Stream: "stdout", Level: "error", Request: "r-1", Version: 1, Text: "annas"})
	for _, query := range []string{"", "follow=true", "grep=annas", "level=error", "request=r-1", "source=gateway", "version=1", "since=2024-05-01T00:00:00Z"} {
		path := fmt.Sprintf("/api/v1/apis/%s/logs?%s", api.ID, query)
		wantProblem(t, f.bert("GET", path, ""), http.StatusNotFound, "not_found")
		if query == "follow=true" || query == "source=gateway" {
			continue
		}
		for _, may := range []func(string, string, string) *httptest.ResponseRecorder{f.anna, f.reader, f.annasReader} {
			if got := linesOf(t, may("GET", path, "")); got != "annas" {
				t.Errorf("%s: %q", query, got)
			}
		}
	}
}

// TestWhoFollowsMustStillBeAllowedTo: a stream went on for as long as its client stayed, whatever became of its token.
func TestWhoFollowsMustStillBeAllowedTo(t *testing.T) {
	for name, end := range map[string]func(f two, token store.Token, api store.API) error{
		"revoked": func(f two, token store.Token, _ store.API) error {
			_, err := f.store.RevokeToken(t.Context(), token.ID)
			return err
		},
		"another's": func(f two, _ store.Token, api store.API) error {
			_, err := f.store.ChangeAPI(t.Context(), api.ID, func(a store.API) (store.API, error) {
				a.UserID = store.OperatorID
				return a, nil
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTwo(t)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				f.anna("GET", "/api/v1/apis/of-anna/logs?follow=true", "")
			}()
			api, err := f.store.API(t.Context(), "of-anna")
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := f.store.Tokens(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			anna, err := f.store.User(t.Context(), "anna")
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				t.Fatal("it ended by itself")
			case <-time.After(3 * time.Second): // it has been asked once
			}
			for _, token := range tokens {
				if token.UserID == anna.ID && token.Role == store.RoleAuthor {
					if err := end(f, token, api); err != nil {
						t.Fatal(err)
					}
				}
			}
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}
