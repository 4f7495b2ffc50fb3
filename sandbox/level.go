package sandbox

import (
	"encoding/json"
	"regexp"
	"strings"
)

// Levels of lines. The zero value is a line whose level cannot be told.
const (
	LevelDebug    = "debug"
	LevelInfo     = "info"
	LevelWarning  = "warning"
	LevelError    = "error"
	LevelCritical = "critical"
)

// levelNames are what loggers write, in lower case.
var levelNames = map[string]string{
	"trace": LevelDebug, "debug": LevelDebug,
	"info": LevelInfo, "notice": LevelInfo, "success": LevelInfo,
	"warn": LevelWarning, "warning": LevelWarning,
	"error": LevelError, "err": LevelError, "exception": LevelError, "severe": LevelError,
	"critical": LevelCritical, "fatal": LevelCritical, "alert": LevelCritical, "emergency": LevelCritical, "panic": LevelCritical,
}

const mostInherited = 500 // lines that have the level of one before

// lineReader tells what can be told of the lines of one stream.
type lineReader struct {
	last      mark // of the line before
	cut       bool // that line goes on
	traceback bool // of Python, whose last line is still to come
	inherited int
}

// read takes the next line, or the next piece of one that was cut.
func (r *lineReader) read(text string, more bool) Line {
	goesOn := r.cut
	r.cut = more
	if goesOn {
		return Line{Text: text, Request: r.last.request, Level: r.last.level}
	}
	text, m := takeMarks(text)
	if m.level == "" {
		m.level = r.level(text)
	} else {
		r.traceback = false
	}
	r.last = m
	return Line{Text: text, Request: m.request, Level: m.level}
}

// level is that of a line without one of its own mark's: what it says, or that of the line before, which it goes on.
func (r *lineReader) level(text string) string {
	if own := levelOf(text); own != "" {
		r.traceback, r.inherited = false, 0
		return own
	}
	switch {
	case strings.HasPrefix(text, "Traceback (most recent call last):"), strings.HasPrefix(text, "  + Exception Group Traceback"):
		r.traceback, r.inherited = true, 0
		return atLeastError(r.last.level)
	case text == chained, text == caused:
		return LevelError
	case r.inherited >= mostInherited:
		r.traceback = false
	case text == "" && !r.traceback:
		return ""
	case text == "", text[0] == ' ', text[0] == '\t':
		r.inherited++
		return r.last.level
	case r.traceback: // the exception
		r.traceback = false
		return r.last.level
	}
	return ""
}

// What Python writes between two tracebacks.
const (
	chained = "During handling of the above exception, another exception occurred:"
	caused  = "The above exception was the direct cause of the following exception:"
)

// atLeastError returns the level of a traceback below a line of another level: at least an error.
func atLeastError(before string) string {
	if before == LevelCritical {
		return before
	}
	return LevelError
}

const levelReach = 160 // bytes at the beginning of a line in which its level is looked for

var (
	colours = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// A line that begins with its level: WARNING:root:x (logging), INFO:     x (uvicorn), ERROR x, [info     ] x (structlog).
	first = regexp.MustCompile(`^(?:([A-Z]{3,9})(?:[]:|,\s-]|$)|\[ ?([A-Za-z]{3,9}) *\])`)
	// One that begins with a time, or with something in brackets, and has its level behind it: as a word in capitals, or in
	// brackets.
	dated = regexp.MustCompile(`^(?:\[|\d)`)
	word  = regexp.MustCompile(`(?:^|[][\s|:,-])([A-Z]{3,9})(?:[]:|,\s-]|$)|\[ ?([A-Za-z]{3,9}) *\]`)
	// One whose level stands between hyphens: name - LEVEL - message.
	hyphened = regexp.MustCompile(` - ([A-Z]{3,9}) - `)
	// One of the module warnings: /env/x.py:3: DeprecationWarning: message.
	warned = regexp.MustCompile(`^\S+:\d+: \w*Warning: `)
)

// levelOf tells the level of a line by its text: the formats of Python's logging, uvicorn, gunicorn, loguru and structlog, and
// JSON objects with a level. Empty: it cannot be told.
func levelOf(text string) string {
	if strings.HasPrefix(text, "{") {
		return levelOfJSON(text)
	}
	head := text[:min(len(text), levelReach)]
	if strings.IndexByte(head, '\x1b') >= 0 {
		head = colours.ReplaceAllString(head, "")
	}
	if head == "" || head[0] >= 'a' && head[0] <= 'z' && !strings.Contains(head, " - ") {
		return ""
	}
	if level := named(first.FindStringSubmatch(head)); level != "" {
		return level
	}
	if dated.MatchString(head) {
		for _, match := range word.FindAllStringSubmatch(head, 8) {
			if level := named(match); level != "" {
				return level
			}
		}
	}
	if level := named(hyphened.FindStringSubmatch(head)); level != "" {
		return level
	}
	switch {
	case warned.MatchString(head):
		return LevelWarning
	case strings.HasPrefix(head, "Fatal Python error: "):
		return LevelCritical
	}
	return ""
}

// named is the level that one of the groups of a match names.
func named(match []string) string {
	for i := 1; i < len(match); i++ {
		if level := levelNames[strings.ToLower(match[i])]; level != "" {
			return level
		}
	}
	return ""
}

func levelOfJSON(text string) string {
	var fields struct { // encoding/json ignores case
		Level        any `json:"level"`
		LevelName    any `json:"levelname"`
		LogLevel     any `json:"log.level"`
		Severity     any `json:"severity"`
		SeverityText any `json:"severity_text"`
	}
	if json.Unmarshal([]byte(text), &fields) != nil {
		return ""
	}
	for _, value := range []any{fields.Level, fields.LevelName, fields.LogLevel, fields.Severity, fields.SeverityText} {
		if name, ok := value.(string); ok {
			if level := levelNames[strings.ToLower(name)]; level != "" {
				return level
			}
		}
	}
	return ""
}
