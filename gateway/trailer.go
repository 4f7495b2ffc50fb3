package gateway

import "net/http"

// requestTrailer returns the announced trailer fields that may be passed on, without values; nil when no trailer can
// come. Programs may see trailer fields among the others, so the same rules hold.
func requestTrailer(r *http.Request) http.Header {
	if r.ContentLength >= 0 {
		return nil
	}
	out := make(http.Header)
	for name := range r.Trailer {
		if !staysBehind(name) {
			out[name] = nil
		}
	}
	return out
}

// copyTrailer puts on dst what came after a request's body, announced or not; nowhere where that is nil: no trailer can be sent.
func copyTrailer(dst, src http.Header) {
	if dst == nil {
		return
	}
	for name, values := range src {
		if !staysBehind(name) {
			dst[name] = values
		}
	}
}

func staysBehind(name string) bool {
	name = folded(name)
	return isKept(name) || isFraming(name) || holdsSecrets(name) || onlyInHeader(name)
}

// onlyInHeader knows the fields that would change behind a body what was said before it (RFC 9110, 6.5.1).
func onlyInHeader(name string) bool {
	return name == "Content-Type" || name == "Max-Forwards" || name == "Via"
}

// declareTrailer announces a program's trailer fields on the header of an answer.
func (l *fieldList) declareTrailer(trailer http.Header) {
	for name := range trailer {
		if !staysInTrailer(name) {
			l.add("Trailer", name)
		}
	}
}

// staysInTrailer reports whether a program's trailer field is dropped: what is confined in a header has no place behind it.
func staysInTrailer(name string) bool {
	return isOurs(name) || isOfOrigin(name) || name == "Set-Cookie"
}

// passTrailer puts on h what came after a program's answer, as net/http takes it whether it was declared or not.
func passTrailer(h, trailer http.Header) {
	for name, values := range trailer {
		if len(values) > 0 && !staysInTrailer(name) && !isFraming(name) {
			h[http.TrailerPrefix+name] = values
		}
	}
}
