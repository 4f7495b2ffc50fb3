package gateway

import (
	"fmt"
	"net/http"
	"strings"
)

// isHopByHop knows the fields of one connection (RFC 9110, 7.6.1, and what RFC 2616 had beside), which are not passed on.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// isFromConnection knows the fields about where a request came from. A consumer cannot set them; they are dropped, and those that the
// gateway knows are set from the request's origin.
func isFromConnection(name string) bool {
	switch name {
	case "Forwarded", "X-Real-Ip", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

type fields map[string]struct{}

func (f fields) has(name string) bool {
	_, ok := f[name]
	return ok
}

// connectionFields returns the fields that those of Connection name, in canonical form; nil when there are none.
func connectionFields(connection []string) fields {
	var named fields
	for _, value := range connection {
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
		len(r.Header["Upgrade"]) == 1 && equalFold(r.Header["Upgrade"][0], webSocket)
}

const webSocket = "websocket"

// protocols makes one value of those of Upgrade (RFC 9110, 7.8); empty when there is no protocol, or something else among them.
func protocols(upgrade []string) string {
	list := listOf(upgrade)
	for _, protocol := range list {
		name, version, found := strings.Cut(protocol, "/")
		if !isToken(name) || found && !isToken(version) {
			return ""
		}
	}
	return strings.Join(list, ", ")
}

// mayUpgrade reports whether the guard has let go of the connection after r.
func mayUpgrade(r *http.Request) bool {
	if r.ContentLength != 0 {
		return false
	}
	for _, value := range r.Header["Upgrade"] {
		if equalFold(value, webSocket) {
			return true
		}
	}
	return false
}

// expectsContent knows the methods whose requests should say that they have none (RFC 9110, 8.6), as HTTP/2 says it by the end of the stream.
func expectsContent(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// appendHeader appends what the program gets of a consumer's header: neither fields of the connection nor our secrets nor anything
// that pretends to come from the gateway, then what does come from it. The framing of a body is the Transport's. Fields keep the order in which they came,
// as far as order knows it.
func appendHeader(b []byte, r *http.Request, order *fieldOrder, id string, from *origin) ([]byte, error) {
	w, in, named := fieldWriter{b: b}, r.Header, connectionFields(r.Header["Connection"])
	order.each(in, func(name string, values []string) {
		like := folded(name)
		if named.has(name) || isKept(like) || isFraming(name) {
			return
		}
		secret := holdsSecrets(like)
		for _, value := range values {
			if !secret || !hasSecrets(like, value) {
				w.add(name, value)
			}
		}
	})
	if hasToken(in["Te"], "trailers") {
		w.set("Te", "trailers")
	}
	if isUpgrade(r) {
		w.set("Connection", "Upgrade")
		w.set("Upgrade", "websocket")
	}
	if r.ContentLength == 0 && (in["Content-Length"] != nil || r.ProtoMajor > 1 && expectsContent(r.Method)) {
		w.set("Content-Length", "0")
	}
	w.set("Via", via(r)) // behind the consumer's own, whatever its Connection says of them
	from.write(&w)
	w.set("X-Request-Id", id)
	return w.b, w.err
}

// via is the gateway's own line of Via (RFC 9110, 7.6.3): the version of HTTP that r came by, and a pseudonym, because programs have
// no need of the host's name.
func via(r *http.Request) string {
	switch {
	case r.ProtoMajor > 1:
		return "2.0 apibuilder"
	case r.ProtoAtLeast(1, 1):
		return "1.1 apibuilder"
	}
	return "1.0 apibuilder"
}

// fieldWriter appends fields, up to the first that cannot be sent.
type fieldWriter struct {
	b   []byte
	err error
}

// add appends a field of somebody else's.
func (w *fieldWriter) add(name, value string) {
	if w.err == nil {
		w.b, w.err = appendField(w.b, name, value)
	}
}

// set appends a field of the gateway's own, whose name is a token.
func (w *fieldWriter) set(name, value string) {
	switch {
	case w.err != nil:
	case !isFieldValue(value):
		w.err = fmt.Errorf("%w: field %.100q", errUnsendable, name)
	default:
		w.b = (&field{name, value}).appendTo(w.b)
	}
}

// setBy is set for a value that is put together.
func (w *fieldWriter) setBy(name string, value func(b []byte) []byte) {
	if w.err != nil {
		return
	}
	b := append(append(w.b, name...), ": "...)
	begin := len(b)
	if b = value(b); !isFieldValue(b[begin:]) {
		w.err = fmt.Errorf("%w: field %.100q", errUnsendable, name)
		return
	}
	w.b = append(b, "\r\n"...)
}

// folded takes underscores for hyphens, because programs that see fields as CGI variables (RFC 3875, 4.1.18) cannot
// tell them apart.
func folded(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

// isKept reports whether a request's field, of a folded name, stays at the gateway.
func isKept(name string) bool { return isHopByHop(name) || isFromConnection(name) }

func holdsSecrets(name string) bool { return name == apiKeyField || name == "Authorization" }

// pass leaves on a program's header what a consumer gets of it. The fields of limits are the program's own until answer.stamp
// replaces them.
func (l *fieldList) pass() {
	named := connectionFields(l.values("Connection"))
	l.removeAll(func(name string) bool { return named.has(name) || isOurs(name) })
}

// isOurs reports whether a program's field is dropped.
func isOurs(name string) bool {
	return isHopByHop(name) || name == "X-Request-Id" || name == useField
}
