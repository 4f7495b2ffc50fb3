package gateway

import "strings"

const (
	runPrefix     = "/run/"
	longestAPIRef = 63 // of a name; ids are shorter
)

// splitTarget cuts a raw request target (RFC 9112, 3.2) of the form /run/{id}{rest}. rest is what the program gets, byte
// for byte: it starts with a slash, which is added where there is none, and includes the query. ok is false when the
// target has another form or id is none that an API can have.
func splitTarget(target string) (id, rest string, ok bool) {
	path, found := strings.CutPrefix(originForm(target), runPrefix)
	if !found {
		return "", "", false
	}
	end := strings.IndexAny(path, "/?")
	if end < 0 {
		end = len(path)
	}
	id, rest = path[:end], path[end:]
	if !possibleAPIRef(id) {
		return "", "", false
	}
	if rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	return id, rest, true
}

// originForm takes the scheme and authority off an absolute-form target. RFC 9112, 3.2.2: servers must accept it, and its path may be
// empty, which is a slash (RFC 9110, 4.2.3).
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	_, after, found := strings.Cut(target, "://")
	if !found {
		return ""
	}
	switch end := strings.IndexAny(after, "/?#"); {
	case end < 0 && after != "":
		return "/"
	case end >= 0 && after[end] == '/':
		return after[end:]
	case end > 0 && after[end] == '?':
		return "/" + after[end:]
	}
	return ""
}

// possibleAPIRef reports whether s can be the id or the name of an API, so that nothing else ever reaches the store.
func possibleAPIRef(s string) bool {
	if s == "" || len(s) > longestAPIRef {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// recordedPath is rest as a usage record has it: without the query, in ASCII, and not longer than a record should be.
func recordedPath(rest string) string {
	const longest = 1024
	path, _, _ := strings.Cut(rest, "?")
	if len(path) > longest {
		path = path[:longest]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?' // which no path has
		}
		return r
	}, path)
}
