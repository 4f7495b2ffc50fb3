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

// ofOrigin are response fields that speak for the whole origin, or that a sandboxed document must not have.
var ofOrigin = knownFields(
	"Accept-Ch", "Alt-Svc", "Clear-Site-Data", "Critical-Ch", "Cross-Origin-Opener-Policy", "Nel", "Origin-Agent-Cluster",
	"Report-To", "Service-Worker-Allowed", "Strict-Transport-Security", "Use-As-Dictionary",
)

// inert are the media types of which no browser makes a document with scripts when it must not guess.
var inert = knownFields(
	"application/gzip", "application/javascript", "application/json", "application/octet-stream", "application/pdf",
	"application/problem+json", "application/x-ndjson", "application/zip", "audio/mpeg", "audio/ogg", "audio/wav", "font/woff2",
	"image/avif", "image/gif", "image/jpeg", "image/png", "image/webp", "text/css", "text/csv", "text/event-stream",
	"text/javascript", "text/plain", "video/mp4", "video/webm",
)

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

// protect makes the header of an answer, before it is sent, what browsers may see at this address.
func (a *answer) protect(h http.Header) {
	if a.status == http.StatusSwitchingProtocols {
		a.confine(h)
		return
	}
	from := a.request.Header.Get("Origin")
	switch {
	case a.preflight:
	case a.cors != nil:
		a.cors.allow(h, from)
		a.cors.expose(h)
	case from == opaqueOrigin && a.from.shared() && h["Access-Control-Allow-Origin"] == nil:
		ofSandbox.allow(h, from)
		ofSandbox.expose(h)
	}
	a.confine(h)
	if !a.from.shared() {
		return
	}
	h["X-Content-Type-Options"] = noSniff
	if !isInert(h["Content-Type"]) {
		h["Content-Security-Policy"] = append(slices.Clip(h["Content-Security-Policy"]), sandboxPolicy)
	}
}

var noSniff = []string{"nosniff"}

// confine takes off a header what reaches beyond its API.
func (a *answer) confine(h http.Header) {
	switch {
	case a.from.shared():
		shield(h, a.from.prefix)
	case a.from.sub:
		eachCookie(h, func(c *cookie) { c.domain = "" })
	}
}

// ofSandbox is the policy for documents that this gateway has put into a sandbox.
var ofSandbox = &corsPolicy{origins: []string{opaqueOrigin}}

// shield confines cookies and challenges to a prefix, and takes away what speaks for the origin.
func shield(h http.Header, prefix string) {
	for name := range h {
		if ofOrigin.has(name) {
			delete(h, name)
		}
	}
	eachCookie(h, func(c *cookie) { c.confine(prefix) })
	for i, challenge := range h["Www-Authenticate"] {
		if strings.Contains(strings.ToLower(challenge), "basic") {
			h["Www-Authenticate"] = slices.Clone(h["Www-Authenticate"])
			h["Www-Authenticate"][i] = `Basic realm="` + prefix + `"`
		}
	}
}

func isInert(types []string) bool {
	if len(types) != 1 {
		return false
	}
	essence, _, _ := strings.Cut(types[0], ";")
	return inert.has(strings.ToLower(strings.TrimSpace(essence)))
}
