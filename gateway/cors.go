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
func (p *corsPolicy) allow(h http.Header, origin string) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	if p.any {
		h["Access-Control-Allow-Origin"] = []string{"*"}
	} else {
		h["Vary"] = append(slices.Clip(h["Vary"]), "Origin") // on every answer: caches must not mix origins
	}
	if origin == "" || !p.allows(origin) {
		return
	}
	if !p.any {
		h["Access-Control-Allow-Origin"] = []string{origin}
	}
	if p.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
}

// expose lets pages read the answer's fields: all of them, which has to be said one by one where cookies are sent.
func (p *corsPolicy) expose(h http.Header) {
	if h["Access-Control-Allow-Origin"] == nil {
		return
	}
	if !p.credentials {
		h["Access-Control-Expose-Headers"] = []string{"*"}
		return
	}
	names := []string{"X-Request-Id"}
	for name := range h {
		if name != "Set-Cookie" && !strings.HasPrefix(name, "Access-Control-") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h["Access-Control-Expose-Headers"] = []string{strings.Join(names, ", ")}
}

// permit answers what a page may do.
func (p *corsPolicy) permit(h, asked http.Header) {
	p.allow(h, asked.Get("Origin"))
	if h["Access-Control-Allow-Origin"] == nil {
		return
	}
	h["Access-Control-Allow-Methods"] = []string{p.methods}
	if p.methods == "" {
		h["Access-Control-Allow-Methods"] = asked["Access-Control-Request-Method"]
	}
	headers := strings.Join(asked["Access-Control-Request-Headers"], ", ")
	if p.headers != "" {
		headers = p.headers
	}
	if headers != "" {
		h["Access-Control-Allow-Headers"] = []string{headers}
	}
	if p.maxAge != "" {
		h["Access-Control-Max-Age"] = []string{p.maxAge}
	}
	h["Vary"] = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
}
