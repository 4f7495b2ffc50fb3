package gateway

import (
	"net/http"
	"strings"
)

// hopByHop are the fields of one connection (RFC 9110, 7.6.1, and what RFC 2616 had beside), which are not passed on.
var hopByHop = fieldSet(
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
)

// fromConnection are the fields about where a request came from. A consumer cannot set them; together with every
// X-Forwarded- field they are dropped, and those that the gateway knows are set from the request's origin.
var fromConnection = fieldSet("Forwarded", "X-Real-Ip", "X-Request-Id")

type fields map[string]struct{}

func fieldSet(names ...string) fields {
	set := make(fields, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	return set
}

func (f fields) has(name string) bool {
	_, ok := f[name]
	return ok
}

// connectionFields returns the fields that a Connection field names, in canonical form; nil when there are none.
func connectionFields(h http.Header) fields {
	var named fields
	for _, value := range h["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			token = strings.TrimSpace(token)
			if token == "" || strings.EqualFold(token, "keep-alive") || strings.EqualFold(token, "close") {
				continue
			}
			if named == nil {
				named = make(fields)
			}
			named[http.CanonicalHeaderKey(token)] = struct{}{}
		}
	}
	return named
}

// hasToken reports whether a list-valued field has a member, whatever its case and parameters.
func hasToken(values []string, want string) bool {
	for _, value := range values {
		for token := range strings.SplitSeq(value, ",") {
			token, _, _ = strings.Cut(token, ";")
			if strings.EqualFold(strings.TrimSpace(token), want) {
				return true
			}
		}
	}
	return false
}

// isUpgrade reports whether r asks for WebSocket (RFC 6455, 4.1). No other protocol is passed on: an upgrade to HTTP/2
// would carry requests that nobody counts.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ContentLength == 0 && r.ProtoAtLeast(1, 1) &&
		hasToken(r.Header["Connection"], "upgrade") &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header["Upgrade"][0], webSocket)
}

const webSocket = "websocket"

// mayUpgrade reports whether the guard has let go of the connection after r.
func mayUpgrade(r *http.Request) bool {
	if r.ContentLength != 0 {
		return false
	}
	for _, value := range r.Header["Upgrade"] {
		if strings.EqualFold(value, webSocket) {
			return true
		}
	}
	return false
}

// requestHeader returns what the program gets of a consumer's header: neither fields of the connection nor our secrets
// nor anything that pretends to come from the gateway, then what does come from it. Values are shared with r.
func requestHeader(r *http.Request, id string, from *origin) http.Header {
	in, named := r.Header, connectionFields(r.Header)
	out := make(http.Header, len(in)+7)
	for name, values := range in {
		if named.has(name) || isKept(name) {
			continue
		}
		if values = withoutSecrets(name, values); len(values) > 0 {
			out[name] = values
		}
	}
	own := &ownFields{out, make([]string, 0, mostOwnFields)}
	if hasToken(in["Te"], "trailers") {
		own.set("Te", "trailers")
	}
	if isUpgrade(r) {
		own.set("Connection", "Upgrade")
		own.set("Upgrade", "websocket")
	}
	from.set(own)
	own.set("X-Request-Id", id)
	return out
}

const mostOwnFields = 9

// ownFields sets fields of one value, with one allocation for the values of all.
type ownFields struct {
	header http.Header
	values []string
}

// set takes a name in canonical form.
func (f *ownFields) set(name, value string) {
	f.values = append(f.values, value)
	at := len(f.values) - 1
	f.header[name] = f.values[at : at+1 : at+1]
}

// folded takes underscores for hyphens, because programs that see fields as CGI variables (RFC 3875, 4.1.18) cannot
// tell them apart.
func folded(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// isKept reports whether a request's field stays at the gateway.
func isKept(name string) bool {
	name = folded(name)
	return hopByHop.has(name) || fromConnection.has(name) || strings.HasPrefix(name, "X-Forwarded-")
}

// withoutSecrets takes the values that hold a secret of ours out of X-API-Key and Authorization.
func withoutSecrets(name string, values []string) []string {
	name = folded(name)
	if !holdsSecrets(name) {
		return values
	}
	var kept []string
	for _, value := range values {
		if !hasSecrets(name, value) {
			kept = append(kept, value)
		}
	}
	return kept
}

func holdsSecrets(name string) bool { return name == apiKeyField || name == "Authorization" }

// copyResponse puts on dst what a consumer gets of a program's header. The fields of limits are the program's own until
// answer.stamp replaces them.
func copyResponse(dst, src http.Header) {
	named := connectionFields(src)
	for name, values := range src {
		if named.has(name) || isOurs(name) {
			continue
		}
		dst[name] = values
	}
}

// isOurs reports whether a program's field is dropped.
func isOurs(name string) bool {
	return hopByHop.has(name) || name == "X-Request-Id" || name == useField
}
