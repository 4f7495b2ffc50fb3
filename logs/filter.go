package logs

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
)

// Bounds of a pattern: a line of 16 KiB is matched in a few milliseconds at most.
const (
	patternBytes = 512
	patternSteps = 1000 // instructions of the compiled pattern
)

// Filter chooses lines. The zero value chooses all. It may be used concurrently.
type Filter struct {
	Since, Until time.Time // from Since on, and before Until; zero: no bound
	// Level is the lowest level. Lines whose level cannot be told have none, and are left out.
	Level   string
	Request string   // id of a request
	Streams []string // of Streams; none: all, and the platform's lines too
	Sources []string // of Sources; none: all
	Version int      // 0: all
	Pattern *regexp.Regexp
}

// Error is a part of a filter that cannot be used.
type Error struct {
	Field   string // its name: level, grep
	Message string
	Remedy  string
}

func (e *Error) Error() string { return cmp.Or(e.Field, "filter") + ": " + e.Message + ": " + e.Remedy }

// ParsePattern reads a regular expression in RE2's syntax. Its error is an *Error. Matching takes time in proportion to the text,
// whatever the pattern is, and a pattern that would make the proportion a large one is refused.
func ParsePattern(text string) (*regexp.Regexp, error) {
	if len(text) > patternBytes {
		return nil, &Error{"grep", fmt.Sprintf("the pattern has %d bytes", len(text)), fmt.Sprintf("give one of %d at most", patternBytes)}
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, &Error{"grep", fmt.Sprintf("%q is no pattern: %v", text, err), "see https://github.com/google/re2/wiki/Syntax"}
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > patternSteps {
		return nil, &Error{"grep", fmt.Sprintf("the pattern %q is too large", text), "repeat less in it"}
	}
	pattern, err := regexp.Compile(text)
	if err != nil {
		return nil, &Error{"grep", fmt.Sprintf("%q is no pattern: %v", text, err), "see https://github.com/google/re2/wiki/Syntax"}
	}
	return pattern, nil
}

// ParseLevel reads the name of a level. Its error is an *Error.
func ParseLevel(text string) (string, error) {
	level := strings.ToLower(text)
	if level == "warn" {
		level = "warning"
	}
	if rank(level) < 0 {
		return "", &Error{"level", fmt.Sprintf("%q is no level", text), "use " + strings.Join(Levels, ", ")}
	}
	return level, nil
}

// Match reports whether the filter chooses a line.
func (f *Filter) Match(l Line) bool {
	return f.matchFields(l) && (f.Pattern == nil || f.Pattern.MatchString(l.Text))
}

// matchFields is Match without the pattern.
func (f *Filter) matchFields(l Line) bool {
	switch {
	case !f.Since.IsZero() && l.Time.Before(f.Since), !f.Until.IsZero() && !l.Time.Before(f.Until),
		f.Level != "" && rank(l.Level) < rank(f.Level),
		f.Request != "" && l.Request != f.Request,
		f.Version != 0 && l.Version != f.Version,
		len(f.Streams) > 0 && !slices.Contains(f.Streams, l.Stream),
		len(f.Sources) > 0 && !slices.Contains(f.Sources, l.Source()):
		return false
	}
	return true
}
