package gateway

import "strings"

// forwardedElement is what one proxy has said in a Forwarded field (RFC 7239, 4).
type forwardedElement struct {
	node  string // of for: who has connected to it
	host  string
	proto string
}

// parseForwarded reads a Forwarded field, whose lines were joined by commas. ok is false for what the grammar does not
// allow: then nobody can say which proxy has written what.
func parseForwarded(text string) (elements []forwardedElement, ok bool) {
	s := forwardedScanner{text}
	for {
		element, ok := s.element()
		if !ok {
			return nil, false
		}
		if element != (forwardedElement{}) {
			elements = append(elements, element)
		}
		switch {
		case s.rest == "":
			return elements, true
		case !s.skip(','):
			return nil, false
		}
	}
}

// forwardedScanner reads what is left of a Forwarded field.
type forwardedScanner struct{ rest string }

// element reads pairs up to a comma or the end.
func (s *forwardedScanner) element() (e forwardedElement, ok bool) {
	for {
		s.space()
		if s.rest == "" || s.rest[0] == ',' {
			return e, true
		}
		if s.skip(';') {
			continue
		}
		name, value, ok := s.pair()
		if !ok || !e.set(name, value) {
			return e, false
		}
		s.space()
		if s.rest != "" && s.rest[0] != ',' && s.rest[0] != ';' {
			return e, false
		}
	}
}

// set notes a pair; false for one that is there already.
func (e *forwardedElement) set(name, value string) bool {
	field := map[string]*string{"for": &e.node, "host": &e.host, "proto": &e.proto}[strings.ToLower(name)]
	if field == nil {
		return true
	}
	once := *field == ""
	*field = value
	return once
}

func (s *forwardedScanner) pair() (name, value string, ok bool) {
	name = s.token()
	if name == "" || !s.skip('=') {
		return "", "", false
	}
	if s.skip('"') {
		value, ok = s.quoted()
		return name, value, ok
	}
	value = s.token()
	return name, value, value != ""
}

// quoted reads the rest of a quoted string (RFC 9110, 5.6.4).
func (s *forwardedScanner) quoted() (string, bool) {
	var value strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return value.String(), true
		case '\\':
			if i++; i == len(s.rest) {
				return "", false
			}
			value.WriteByte(s.rest[i])
		default:
			value.WriteByte(c)
		}
	}
	return "", false
}

func (s *forwardedScanner) token() string {
	n := 0
	for n < len(s.rest) && tokenBytes[s.rest[n]] {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token
}

func (s *forwardedScanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *forwardedScanner) skip(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}
