package sandbox

import (
	"slices"
	"strings"
	"testing"
)

func TestLevelsOfFormats(t *testing.T) {
	for text, want := range map[string]string{
		"WARNING:root:disk is nearly full":                        LevelWarning, // logging.basicConfig
		"DEBUG:app:x":                                             LevelDebug,
		"CRITICAL:app:x":                                          LevelCritical,
		"INFO:     Started server process [1]":                    LevelInfo, // uvicorn
		"ERROR:    Exception in ASGI application":                 LevelError,
		"\x1b[32mINFO\x1b[0m:     Started":                        LevelInfo,
		"2024-05-01 12:00:00,123 - app.db - ERROR - it broke":     LevelError, // the cookbook's
		"2024-05-01 12:00:00,123 WARNING app it is slow":          LevelWarning,
		"2024-05-01T12:00:00Z [info     ] started   port=1":       LevelInfo,     // structlog
		"2024-05-01 12:00:00.123 | SUCCESS  | app:main:3 - ready": LevelInfo,     // loguru
		"[2024-05-01 12:00:00 +0000] [7] [CRITICAL] worker died":  LevelCritical, // gunicorn
		"[ERROR] it broke":                                        LevelError,
		"app.db - ERROR - it broke":                               LevelError,
		"ERROR it broke":                                          LevelError,
		"ERROR":                                                   LevelError,
		`{"level":"warn","msg":"x"}`:                              LevelWarning,
		`{"severity":"ERROR","message":"x"}`:                      LevelError,
		`{"levelname":"INFO"}`:                                    LevelInfo,
		`{"log.level":"debug"}`:                                   LevelDebug,
		`{"severity_text":"FATAL"}`:                               LevelCritical,
		"/env/x.py:3: DeprecationWarning: old":                    LevelWarning,
		"Fatal Python error: Segmentation fault":                  LevelCritical,

		"":                                   "",
		"got INFO from the server":           "",
		"This is an ERROR":                   "",
		"ERRORS are many":                    "",
		"INFORMATION":                        "",
		`{"level":"warn"`:                    "",
		`{"level":50}`:                       "",
		`{"level":"shouting"}`:               "",
		`{"nested":{"level":"error"}}`:       "",
		"12 ERRORS":                          "",
		"[1, 2, 3]":                          "",
		"2024-05-01 everything is all right": "",
		strings.Repeat("x", 200) + " - ERROR - x": "",
	} {
		if got := levelOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLevelsOfLinesThatGoOn(t *testing.T) {
	var r lineReader
	var levels []string
	for _, text := range []string{
		"ERROR:    Exception in ASGI application",
		"Traceback (most recent call last):",
		`  File "main.py", line 3, in f`,
		"    1/0",
		"ZeroDivisionError: division by zero",
		"",
		chained,
		"",
		"Traceback (most recent call last):",
		`  File "main.py", line 5, in f`,
		"KeyError: 'x'",
		"ordinary",
		"  indented below it",
		"INFO:app:{",
		"  'a': 1",
		"}",
	} {
		levels = append(levels, r.read(text, false).Level)
	}
	e, i := LevelError, LevelInfo
	want := []string{e, e, e, e, e, "", e, "", e, e, e, "", "", i, i, ""}
	if !slices.Equal(levels, want) {
		t.Errorf("%q, want %q", levels, want)
	}
	for range 2 * mostInherited {
		r.read("WARNING:x:y", false)
	}
	r.read("ERROR:x:y", false)
	for range mostInherited {
		r.read(" below", false)
	}
	if l := r.read(" far below", false); l.Level != "" {
		t.Errorf("a line far below an error is one: %+v", l)
	}
}

func TestPiecesOfALineBelongTogether(t *testing.T) {
	var r lineReader
	first := r.read("\x1e"+someRequest+";e\x1fabc", true)
	second := r.read("INFO:x:def", false)
	third := r.read("ghi", false)
	if first.Request != someRequest || second.Request != someRequest || second.Level != LevelError || third.Request != "" || third.Level != "" {
		t.Errorf("%+v %+v %+v", first, second, third)
	}
}

func FuzzLevel(f *testing.F) {
	f.Add("WARNING:root:x", "  more")
	f.Add(`{"level":"warn"}`, "Traceback (most recent call last):")
	f.Add("2024-05-01 12:00:00 [\x1b[1minfo ] x", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		known := []string{"", LevelDebug, LevelInfo, LevelWarning, LevelError, LevelCritical}
		var r lineReader
		for _, text := range []string{a, b, a} {
			if l := r.read(text, false); !slices.Contains(known, l.Level) {
				t.Errorf("%q has level %q", text, l.Level)
			}
		}
	})
}

func BenchmarkReadLine(b *testing.B) {
	var r lineReader
	b.ReportAllocs()
	for b.Loop() {
		r.read("2024-05-01 12:00:00,123 - app.db - ERROR - it broke", false)
	}
}
