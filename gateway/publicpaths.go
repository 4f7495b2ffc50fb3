package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// publicPath is a kind of request that needs no key.
type publicPath struct {
	methods []string // none: every method, and WebSocket
	path    string
	below   bool // whatever begins with path
}

// newPublicPaths reads an API's option. What cannot be read opens nothing.
func newPublicPaths(texts []string) []publicPath {
	var all []publicPath
	for _, text := range texts {
		var p publicPath
		method, path, found := strings.Cut(text, " ")
		switch {
		case !found:
			path = text
		case method == http.MethodGet:
			p.methods = []string{http.MethodGet, http.MethodHead}
		default:
			p.methods = []string{method}
		}
		if p.path, p.below = strings.CutSuffix(path, "*"); strings.HasPrefix(p.path, "/") {
			all = append(all, p)
		}
	}
	return all
}

// opens reports whether r is such a request; rest is its target. Paths are compared as they were sent, byte by byte, and
// below a path only those count that no program could read as another: what is encoded, doubles a slash or goes up needs
// the key.
func (p publicPath) opens(r *http.Request, rest string) bool {
	path, _, _ := strings.Cut(rest, "?")
	switch {
	case len(p.methods) > 0 && (!slices.Contains(p.methods, r.Method) || r.Header["Upgrade"] != nil):
		return false
	case p.below:
		return strings.HasPrefix(path, p.path) && isPlainPath(path)
	}
	return path == p.path
}

// isPlainPath reports whether a path consists of unreserved characters and a few harmless ones, and each of its segments is
// a name. An empty segment may be the last one only.
func isPlainPath(path string) bool {
	for i := range len(path) {
		c := path[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("/-._~!$&'()*+,=:@", c) < 0 {
			return false
		}
	}
	if strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// opens reports whether r needs no key by the API's option.
func (e *entry) opens(r *http.Request, rest string) bool {
	for _, p := range e.publicPaths {
		if p.opens(r, rest) {
			return true
		}
	}
	return false
}
