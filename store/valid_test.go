package store

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestValid(t *testing.T) {
	api := API{ID: "api_1", Name: "resize"}
	key, user, token := Key{ID: "key_1", APIID: "api_1", Allow: []string{"GET /"}}, User{ID: "user_1", Name: "ann"}, Token{ID: "tok_1", Name: "ci"}
	plan, version := Plan{Name: "pro"}, Version{Env: map[string]string{"A": ""}}
	for i, v := range []interface{ Valid() error }{api, key, user, token, plan, version} {
		if err := v.Valid(); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func TestInvalidNamesTheField(t *testing.T) {
	for field, v := range map[string]interface{ Valid() error }{
		"api id is missing":               API{Name: "resize"},
		`name "Re size"`:                  API{ID: "a", Name: "Re size"},
		"code_snapshot contains a NUL":    API{ID: "a", Name: "r", CodeSnapshot: "a\x00"},
		"requirements is not UTF-8":       API{ID: "a", Name: "r", Requirements: "\xff"},
		"code is not UTF-8":               Version{Code: "\xed\xa0\x80"},
		"python contains a NUL":           Version{Python: "\x00"},
		"environment is not UTF-8":        Version{Environment: "\xff"},
		`version state "done"`:            Version{State: "done"},
		"limits of -1 bytes":              Version{Limits: Limits{MemoryBytes: -1}},
		"NaN cores":                       Version{Limits: Limits{CPU: math.NaN()}},
		"+Inf cores":                      Version{Limits: Limits{CPU: math.Inf(1)}},
		"-1 processes":                    Version{Limits: Limits{Pids: -1}},
		"env name is missing":             Version{Env: map[string]string{"": "x"}},
		`value of env "TOKEN" is not`:     Version{Env: map[string]string{"TOKEN": "hunter2\xff"}},
		"key id is missing":               Key{},
		"key name is not UTF-8":           Key{ID: "k", Name: "\xff"},
		"an API's or a user's":            Key{ID: "k"},
		"quota of -1":                     Key{ID: "k", UserID: "u", Quota: -1},
		`"GET" has no space`:              Key{ID: "k", UserID: "u", Allow: []string{"GET"}},
		"quota of -2":                     Plan{Name: "p", Quota: -2},
		"user name is missing":            User{ID: "u"},
		"plan name is missing":            Plan{},
		"limits of -2 bytes":              Plan{Name: "p", Limits: Limits{MemoryBytes: -2}},
		"-3 processes":                    Plan{Name: "p", Ceiling: Limits{Pids: -3}},
		"token name contains a NUL":       Token{ID: "t", Name: "\x00"},
		"token prefix is not UTF-8":       Token{ID: "t", Name: "ci", Prefix: "\xff"},
		"user id contains a NUL byte: re": User{ID: "\x00", Name: "ann"},
	} {
		err := v.Valid()
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("want an ErrInvalid with %q, got %v", field, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "é\U0001F600": "é\U0001F600", "a\x00b": "a\uFFFDb", "a\xffb": "a\uFFFDb",
		"\xed\xa0\x80": "\uFFFD", "\xff\x00": "\uFFFD\uFFFD",
	} {
		if got := CleanText(in); got != want {
			t.Errorf("CleanText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanUsage(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 3600))
	u := Usage{ID: "a\x00", Path: "/\xff", Time: at, Duration: 1500 * time.Nanosecond, StartWait: 999}.Clean()
	want := Usage{
		ID: "a\uFFFD", Path: "/\uFFFD", Time: time.Date(2026, 1, 2, 2, 4, 5, 123456000, time.UTC),
		Duration: time.Microsecond,
	}
	if u != want {
		t.Fatalf("%+v, want %+v", u, want)
	}
}

func TestIsClean(t *testing.T) {
	clean := Usage{ID: "a", Path: "/\u00e4", Time: time.UnixMicro(1).UTC(), Duration: time.Microsecond}
	none := Usage{}.Clean()
	if !clean.IsClean(&Usage{}) || !none.IsClean(&Usage{}) || !clean.IsClean(&clean) {
		t.Error("a clean record is not")
	}
	for name, spoil := range map[string]func(*Usage){
		"id":     func(u *Usage) { u.ID = "a\x00" },
		"api":    func(u *Usage) { u.APIID = "\xff" },
		"key":    func(u *Usage) { u.KeyID = "\xff" },
		"method": func(u *Usage) { u.Method = "\xff" },
		"path":   func(u *Usage) { u.Path = "\xff" },
		"route":  func(u *Usage) { u.Route = "\xff" },
		"node":   func(u *Usage) { u.Node = "\xff" },
		"error":  func(u *Usage) { u.Error = "\xff" },
		"zone":   func(u *Usage) { u.Time = u.Time.In(time.FixedZone("", 3600)) },
		"time":   func(u *Usage) { u.Time = u.Time.Add(1) },
		"clock":  func(u *Usage) { u.Time = time.Now() },
		"took":   func(u *Usage) { u.Duration++ },
		"waited": func(u *Usage) { u.StartWait++ },
		"cpu":    func(u *Usage) { u.CPU++ },
	} {
		u := clean
		spoil(&u)
		if u.IsClean(&Usage{}) || u.IsClean(&clean) {
			t.Errorf("%s: a record is clean that is not", name)
		}
		if u = u.Clean(); !u.IsClean(&clean) {
			t.Errorf("%s: what Clean returns is not clean: %+v", name, u)
		}
	}
}
