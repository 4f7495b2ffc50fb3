package gateway

import (
	"net"
	"net/http"
	"strconv"
)

// ServeRedirect sends the consumers that l takes to the same address by https, at a port, until Drain ends it: with 308,
// so that methods and bodies stay (RFC 9110, 15.4.9). first, if it is not nil, is asked before, and reports whether it has
// answered. It closes l, and returns as Serve does.
func (g *Gateway) ServeRedirect(l net.Listener, port int, first func(http.ResponseWriter, *http.Request) bool) error {
	return g.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r); c != nil {
			c.used()
		}
		if first == nil || !first(w, r) {
			g.redirect(w, r, port)
		}
	}), l, nil)
}

func (g *Gateway) redirect(w http.ResponseWriter, r *http.Request, port int) {
	a := newAnswer(g, w, r)
	defer a.finish(r)
	a.from = originOf(r, &g.config)
	host, target := a.from.host, originForm(r.RequestURI)
	if !a.from.possible(connOf(r)) || host == "" || !isTarget(target) {
		a.problem(wordBadRequest)
		return
	}
	a.head.set("Location", "https://"+withPort(host, port)+target)
	a.head.set("Content-Length", "0")
	a.settleBody()
	a.WriteHeader(http.StatusPermanentRedirect)
}

// withPort puts a port in the place of a possible host's own; none for that of https.
func withPort(host string, port int) string {
	name, _ := hostnameOf(host)
	switch {
	case port != 443:
		return net.JoinHostPort(name, strconv.Itoa(port))
	case net.ParseIP(name) != nil && host[0] == '[':
		return "[" + name + "]"
	}
	return name
}
