package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// Below /run all APIs share one origin, and a browser lets pages of one origin do as they like with each other. So documents
// get an origin that is nobody's (HTML standard, 7.1.5: sandbox without allow-same-origin), which has no cookies, no storage
// and no service workers; cookies and challenges are confined to their API; and what speaks for the whole origin is dropped.
// Since a page's calls to its own API then come from the origin null, those are answered as CORS asks, without cookies: what
// they carry is a key that the page was given. docs/decisions/0023 has the reasons.

const (
	sandboxPolicy = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts allow-top-navigation-by-user-activation"

	opaqueOrigin = "null" // what browsers call the origin of a sandboxed document
)

// isOfOrigin knows the response fields that speak for the whole origin, or that a sandboxed document must not have.
func isOfOrigin(name string) bool {
	switch name {
	case "Accept-Ch", "Alt-Svc", "Clear-Site-Data", "Critical-Ch", "Cross-Origin-Opener-Policy", "Nel", "Origin-Agent-Cluster",
		"Report-To", "Sec-Session-Registration", "Secure-Session-Challenge", "Secure-Session-Registration", "Service-Worker-Allowed",
		"Set-Login", "Strict-Transport-Security", "Use-As-Dictionary":
		return true
	}
	return false
}

// isInertType knows the media types of which no browser makes a document with scripts when it must not guess.
func isInertType(lower string) bool {
	switch lower {
	case "application/gzip", "application/javascript", "application/json", "application/octet-stream", "application/pdf",
		"application/problem+json", "application/x-ndjson", "application/zip", "audio/mpeg", "audio/ogg", "audio/wav", "font/woff2",
		"image/avif", "image/gif", "image/jpeg", "image/png", "image/webp", "text/css", "text/csv", "text/event-stream",
		"text/javascript", "text/plain", "video/mp4", "video/webm":
		return true
	}
	return false
}

// shared reports whether the address that was called is below /run.
func (o *origin) shared() bool { return len(o.prefix) > 1 }

// unwelcome returns the word for a request that an API must not get at a shared address, or nothing. A worker's script may
// take over what lies below its own path, and stays in the browser.
func (o *origin) unwelcome(r *http.Request) string {
	if o.shared() && r.Header["Service-Worker"] != nil {
		return wordServiceWorker
	}
	return ""
}

// opensPage reports whether a browser asks for a page to show, as it says itself (Fetch Metadata, 2.2), or where it does not, without TLS, by what
// it sends for nothing else (Upgrade Insecure Requests, 3.2.1).
func opensPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; mode != nil {
		return mode[0] == "navigate"
	}
	return r.Header.Get("Upgrade-Insecure-Requests") == "1"
}

// sendOn has a browser open an address, whose path has a directory that is the API's own: links and forms of a page at /run/{api} would lead to
// other APIs.
func (a *answer) sendOn(to string) {
	a.head.set("Location", to)
	a.head.set("Content-Length", "0")
	a.settleBody()
	a.WriteHeader(http.StatusTemporaryRedirect)
}

// protect makes the header of an answer, before it is sent, what browsers may see at this address.
func (a *answer) protect() {
	h := &a.head.fieldList
	if a.status == http.StatusSwitchingProtocols {
		a.confine()
		return
	}
	var from string
	if origins := a.request.Header["Origin"]; len(origins) > 0 {
		from = origins[0]
	}
	switch {
	case a.preflight:
	case a.cors != nil:
		a.cors.allow(h, from)
		a.cors.expose(h)
	case from == opaqueOrigin && a.from.shared() && !h.has("Access-Control-Allow-Origin"):
		ofSandbox.allow(h, from)
		ofSandbox.expose(h)
	}
	a.confine()
	if !a.from.shared() {
		return
	}
	h.set("X-Content-Type-Options", "nosniff")
	if mediaType, types := h.count("Content-Type"); types != 1 || !isInert(mediaType) {
		h.add("Content-Security-Policy", sandboxPolicy)
	}
}

// confine takes off a header what reaches beyond its API.
func (a *answer) confine() {
	switch {
	case a.from.shared():
		a.head.shield(&a.from)
	case a.from.sub:
		a.head.eachCookie(func(c *cookie) { c.domain = "" })
	}
}

// ofSandbox is the policy for documents that this gateway has put into a sandbox.
var ofSandbox = &corsPolicy{origins: []string{opaqueOrigin}}

// shield confines cookies and challenges to the prefix of an address, and takes away what speaks for the origin.
func (l *fieldList) shield(at *origin) {
	if !slices.ContainsFunc(l.list, func(f field) bool {
		return f.name == "Set-Cookie" || f.name == "Www-Authenticate" || isOfOrigin(f.name)
	}) {
		return // as nearly always
	}
	l.removeAll(isOfOrigin)
	l.eachCookie(func(c *cookie) { c.confine(at.prefix) })
	l.list = slices.DeleteFunc(l.list, func(f field) bool { return f.asksForServer() || at.bare && f.asksForPassword() })
	for i := range l.list {
		if f := &l.list[i]; f.asksForPassword() {
			f.value = `Basic realm="` + at.prefix + `"`
		}
	}
}

// asksForPassword reports whether a field has browsers ask for a name and a password (RFC 7617), which they send from then on, unasked,
// to all that is below the directory of the address (2.2).
func (f *field) asksForPassword() bool {
	return f.name == "Www-Authenticate" && strings.Contains(strings.ToLower(f.value), "basic")
}

// asksForServer reports whether a field has browsers prove who the user is by a scheme whose protection space is a server (RFC 7616, 3.3;
// RFC 4559): they do so again for any path that asks, and a realm cannot be changed, since what they send depends on it.
func (f *field) asksForServer() bool {
	if f.name != "Www-Authenticate" {
		return false
	}
	for challenge := range strings.SplitSeq(f.value, ",") {
		scheme, _, _ := strings.Cut(strings.ReplaceAll(trimSpace(challenge), "\t", " "), " ")
		if equalFold(scheme, "Digest") || equalFold(scheme, "Negotiate") || equalFold(scheme, "NTLM") {
			return true
		}
	}
	return false
}

// isInert reports whether a value of Content-Type stands for one of those types and for nothing else. Of a list, browsers take the last
// member that is a media type, whatever parameters those before have (Fetch standard, 2.2.6: extract a MIME type).
func isInert(value string) bool {
	if isInertType(value) { // as most are written
		return true
	}
	essence, _, _ := strings.Cut(value, ";")
	essence = trimSpace(essence)
	kind, subtype, _ := strings.Cut(essence, "/")
	return !strings.Contains(value, ",") && isToken(kind) && isToken(subtype) && isInertType(strings.ToLower(essence))
}
