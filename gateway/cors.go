package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"apibuilder/store"
)

// corsPolicy is what an API's options say about pages of other origins. While there is one, the gateway answers for the
// program (Fetch standard, 3.3).
type corsPolicy struct {
	origins     []string
	any         bool
	methods     string // empty: what a page asks for
	headers     string // empty: what a page asks for
	credentials bool
	maxAge      string // in seconds; empty: not said
}

// newCORS returns nil when the program answers for itself.
func newCORS(o store.Options) *corsPolicy {
	if len(o.CORSOrigins) == 0 {
		return nil
	}
	p := &corsPolicy{
		origins: o.CORSOrigins, any: slices.Contains(o.CORSOrigins, "*"),
		methods: strings.Join(o.CORSMethods, ", "), headers: strings.Join(o.CORSHeaders, ", "),
	}
	p.credentials = o.CORSCredentials && !p.any
	if o.CORSMaxAge > 0 {
		p.maxAge = strconv.Itoa(int(o.CORSMaxAge.Seconds()))
	}
	return p
}

func (p *corsPolicy) allows(origin string) bool { return p.any || slices.Contains(p.origins, origin) }

// allow puts on h which origin may read the answer, in the place of what the program has said about it.
func (p *corsPolicy) allow(h *fieldList, origin string) {
	h.removeAll(func(name string) bool { return strings.HasPrefix(name, "Access-Control-") })
	if p.any {
		h.add("Access-Control-Allow-Origin", "*")
	} else {
		h.add("Vary", "Origin") // on every answer: caches must not mix origins
	}
	if origin == "" || !p.allows(origin) {
		return
	}
	if !p.any {
		h.add("Access-Control-Allow-Origin", origin)
	}
	if p.credentials {
		h.add("Access-Control-Allow-Credentials", "true")
	}
}

// expose lets pages read the answer's fields: all of them, which has to be said one by one where cookies are sent.
func (p *corsPolicy) expose(h *fieldList) {
	if !h.has("Access-Control-Allow-Origin") {
		return
	}
	if !p.credentials {
		h.add("Access-Control-Expose-Headers", "*")
		return
	}
	names := []string{"X-Request-Id"}
	for _, f := range h.list {
		if f.name != "Set-Cookie" && !strings.HasPrefix(f.name, "Access-Control-") && !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	h.add("Access-Control-Expose-Headers", strings.Join(names, ", "))
}

// permit answers what a page may do.
func (p *corsPolicy) permit(h *fieldList, asked http.Header) {
	p.allow(h, asked.Get("Origin"))
	if !h.has("Access-Control-Allow-Origin") {
		return
	}
	methods := p.methods
	if methods == "" {
		methods = asked.Get("Access-Control-Request-Method")
	}
	h.add("Access-Control-Allow-Methods", methods)
	headers := strings.Join(asked["Access-Control-Request-Headers"], ", ")
	if p.headers != "" {
		headers = p.headers
	}
	if headers != "" {
		h.add("Access-Control-Allow-Headers", headers)
	}
	if p.maxAge != "" {
		h.add("Access-Control-Max-Age", p.maxAge)
	}
	h.set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
}
