package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// origin is where a request comes from, as far as it can be believed: from the connection, and from what trusted proxies
// say, and at which of an API's addresses it has arrived. A consumer's own words are in none of it but the host.
type origin struct {
	client netip.Addr // invalid: unknown
	proto  string     // http or https
	host   string     // as the consumer wrote it; empty: HTTP/1.0 without one
	name   string     // of host, as hostnameOf has it; empty until possible was asked, or where it is none
	prefix string     // below which the API is at this address; a slash alone at its own
	bare   bool       // nothing is behind the prefix, no slash either: its directory is that of all APIs
	sub    bool       // the address is below the domain that APIs share
	broken bool       // a consumer wrote into the proxies' field what keeps them from being read
}

// originOf reads a request's origin. Of X-Forwarded-For, of X-Forwarded-Proto and -Host, or of Forwarded when the
// configuration says so, it takes what trusted proxies have written: a list is read from its end, where the nearest has
// written, up to the first address that is not trusted, which is the consumer's. The other kind of fields is never
// looked at, because a proxy that writes one kind passes the other on as its consumer has sent it.
func originOf(r *http.Request, c *Config) origin {
	o, conn := origin{proto: "http", host: r.Host}, connOf(r)
	if conn != nil {
		o.client = conn.client
	} else {
		o.client = addrOf(r.RemoteAddr)
	}
	if r.TLS != nil || conn.cameByTLS() {
		o.proto = "https"
	}
	switch {
	case !c.TrustedProxies.trust(o.client) || conn.isNobodys():
	case c.ReadForwarded:
		o.readForwarded(r.Header["Forwarded"], c.TrustedProxies)
	default:
		o.readXForwarded(r.Header, c.TrustedProxies)
	}
	return o
}

func (o *origin) readXForwarded(h http.Header, trusted Proxies) {
	hops := 0
	for addresses := listOf(h["X-Forwarded-For"]); hops < len(addresses) && trusted.trust(o.client); hops++ {
		addr := addrOf(addresses[len(addresses)-1-hops])
		if !addr.IsValid() {
			break
		}
		o.client = addr
	}
	o.setProto(ofHop(listOf(h["X-Forwarded-Proto"]), hops))
	o.setHost(ofHop(listOf(h["X-Forwarded-Host"]), hops))
}

// ofHop is what the farthest trusted proxy has written into a list, to which each proxy adds, or which each replaces.
func ofHop(list []string, hops int) string {
	switch {
	case len(list) == 0:
		return ""
	case hops == 0 || hops > len(list):
		return list[len(list)-1]
	}
	return list[len(list)-hops]
}

// listOf are the members of a list-valued field (RFC 9110, 5.6.1).
func listOf(values []string) []string {
	var list []string
	for _, value := range values {
		for member := range strings.SplitSeq(value, ",") {
			if member = trimSpace(member); member != "" {
				list = append(list, member)
			}
		}
	}
	return list
}

func (o *origin) readForwarded(values []string, trusted Proxies) {
	elements, ok := parseForwarded(strings.Join(values, ","))
	if !ok {
		o.broken = true
		return
	}
	for i := len(elements) - 1; i >= 0 && trusted.trust(o.client); i-- {
		o.setProto(elements[i].proto)
		o.setHost(elements[i].host)
		addr := addrOf(elements[i].node)
		if !addr.IsValid() { // RFC 7239, 6: "unknown", or a name that the proxy has made up
			return
		}
		o.client = addr
	}
}

func (o *origin) setProto(proto string) {
	switch proto = strings.ToLower(proto); proto {
	case "http", "https":
		o.proto = proto
	}
}

func (o *origin) setHost(host string) {
	if host != "" {
		o.host = host
	}
}

// possible reports whether the request can be served: from wherever it comes, it must say for whom it is.
func (o *origin) possible(conn *consumerConn) bool {
	o.name = conn.nameOf(o.host)
	return !o.broken && (o.name != "" || o.host == "")
}

// write puts on a program's request where it comes from. Of the addresses on its way the consumer's alone is told: programs
// believe the first, wherever it stands.
func (o *origin) write(w *fieldWriter) {
	if o.client.IsValid() {
		w.setBy("X-Forwarded-For", o.client.AppendTo)
	}
	if o.host != "" {
		w.set("X-Forwarded-Host", o.host)
	}
	w.set("X-Forwarded-Prefix", o.prefix)
	w.set("X-Forwarded-Proto", o.proto)
	w.setBy("Forwarded", o.appendForwarded)
}

// appendForwarded appends an element of RFC 7239.
func (o *origin) appendForwarded(b []byte) []byte {
	switch {
	case o.client.Is6():
		b = append(o.client.AppendTo(append(b, `for="[`...)), `]";`...)
	case o.client.IsValid():
		b = append(o.client.AppendTo(append(b, "for="...)), ';')
	}
	if o.host != "" {
		b = append(append(append(b, `host="`...), o.host...), `";`...)
	}
	return append(append(b, "proto="...), o.proto...)
}
