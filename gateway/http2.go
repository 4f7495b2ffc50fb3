package gateway

import (
	"net/http"
	"strings"
)

// clearLength reports whether a request of HTTP/2 has no length, or one that its body has too (RFC 9113, 8.1.1). In HTTP/1 the
// guard sees to it.
func clearLength(r *http.Request) bool {
	declared := r.Header["Content-Length"]
	if declared == nil {
		return true
	}
	n, ok := parseLength(declared[0])
	return ok && len(declared) == 1 && n == r.ContentLength
}

// clearHost reports whether a Host field in a request of HTTP/2 says the same as :authority, which is taken (RFC 9113, 8.3.1):
// whoever has passed the request on may have looked at the other.
func clearHost(r *http.Request) bool {
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return false
		}
	}
	return true
}
