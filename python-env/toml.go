package pythonenv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Bounds of a TOML text of an author. The decoder goes down into itself for every bracket, and keeps the whole path of each key and of
// each table as a text of its own: a few KiB of tables in each other would become GiB. Real texts have a tenth of each.
const (
	maxTOMLDepth = 20       // brackets in each other, and names in a path
	maxTOMLPaths = 16 << 20 // bytes of all paths together
)

// decodeTOML is toml.Decode for a text of an author, at most limit bytes of it. Its error is words that go on after the text's name.
func decodeTOML(text string, limit int, into any) error {
	if len(text) > limit {
		return fmt.Errorf("has more than %d KiB", limit>>10)
	}
	if err := (&tomlScan{text: text}).run(); err != nil {
		return err
	}
	if _, err := toml.Decode(text, into); err != nil {
		return errors.New("is not valid: " + firstLine(err.Error()))
	}
	return nil
}

// tomlScan goes over a text (TOML 1.0) and adds up what its paths come to for the decoder. It need not know what is valid: up to
// the first mistake it sees the same strings, keys and brackets as the decoder, which stops there.
type tomlScan struct {
	text  string
	at    int        // of what comes next
	open  []tomlOpen // brackets that are not closed yet
	table tomlPath   // of the last header
	path  tomlPath   // of the last key
	start int        // of the key that is being read
	names int        // how many it has
	value bool       // after a key
	cost  int        // see maxTOMLPaths
}

type tomlPath struct{ names, bytes int }

// tomlOpen is a bracket: '[' of an array, '{', or 't' of a header, and the path of the key that it belongs to.
type tomlOpen struct {
	kind byte
	path tomlPath
}

func (s *tomlScan) run() error {
	s.beginKey()
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		s.step(c)
		if len(s.open) > maxTOMLDepth || s.path.names > maxTOMLDepth || s.table.names > maxTOMLDepth || s.names > maxTOMLDepth {
			return fmt.Errorf("has more than %d brackets in each other, or names in one key", maxTOMLDepth)
		}
		if s.cost > maxTOMLPaths {
			return errors.New("has too many long keys")
		}
	}
	return nil
}

func (s *tomlScan) step(c byte) {
	switch c {
	case '#':
		s.skipComment()
	case '"', '\'':
		s.skipString(c)
	case '\n':
		if len(s.open) == 0 {
			s.beginKey()
		}
	case '.':
		if !s.value {
			s.names++
		}
	case '=':
		if !s.value {
			s.endKey()
			s.value = true
		}
	case '[', '{':
		s.push(c)
	case ',':
		if len(s.open) > 0 && s.top().kind == '{' {
			s.beginKey()
		}
	case ']', '}':
		s.pop()
	}
}

func (s *tomlScan) top() tomlOpen { return s.open[len(s.open)-1] }

func (s *tomlScan) beginKey() { s.start, s.names, s.value = s.at, 1, false }

// endKey adds the names of a key to the path of the table that it is in.
func (s *tomlScan) endKey() {
	in := s.table
	if len(s.open) > 0 {
		in = s.top().path
	}
	s.path = tomlPath{in.names + s.names, in.bytes + s.at - s.start}
	s.charge(s.names)
}

// charge counts the path as often as the decoder writes it: once for each table that a dotted key implies.
func (s *tomlScan) charge(times int) {
	const eachName = 40 // the decoder's own, besides the text
	s.cost += times * (s.path.bytes + eachName*s.path.names)
}

func (s *tomlScan) push(c byte) {
	switch {
	case !s.value && c == '[': // [table] or [[table]]
		s.table, s.path = tomlPath{}, tomlPath{}
		s.open = append(s.open, tomlOpen{'t', tomlPath{}})
		s.beginKey()
	case c == '{':
		s.charge(1)
		s.open = append(s.open, tomlOpen{c, s.path})
		s.beginKey()
	default:
		s.charge(1)
		s.open = append(s.open, tomlOpen{c, s.path})
	}
}

func (s *tomlScan) pop() {
	if len(s.open) == 0 {
		return
	}
	last := s.top()
	s.open = s.open[:len(s.open)-1]
	switch {
	case last.kind != 't':
		s.path, s.value = last.path, true
	case s.table.names == 0: // the first bracket, where there are two
		s.endKey()
		s.table = s.path
	}
}

func (s *tomlScan) skipComment() {
	if end := strings.IndexByte(s.text[s.at:], '\n'); end >= 0 {
		s.at += end
		return
	}
	s.at = len(s.text)
}

// skipString skips to the end of a string whose first quote was read.
func (s *tomlScan) skipString(quote byte) {
	long := s.quotes(quote) >= 2
	switch {
	case long:
		s.at += 2
	case s.quotes(quote) == 1: // an empty one
		s.at++
		return
	}
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\\' && quote == '"':
			s.at++
		case c == '\n' && !long: // the decoder stops here
			return
		case c == quote && !long:
			s.at++
			return
		case c == quote: // of more than three the last three end it
			n := s.quotes(quote)
			if s.at += n; n >= 3 {
				return
			}
			continue
		}
		s.at++
	}
	s.at = min(s.at, len(s.text))
}

// quotes counts those that come next.
func (s *tomlScan) quotes(quote byte) int {
	rest := s.text[s.at:]
	return len(rest) - len(strings.TrimLeft(rest, string(quote)))
}
