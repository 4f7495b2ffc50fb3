package endtoend

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// chance makes exchanges.
type chance struct{ *rand.Rand }

func (c chance) of(n int) bool { return c.IntN(n) == 0 }

func pick[T any](c chance, all ...T) T { return all[c.IntN(len(all))] }

func (c chance) chars(from string, most int) string {
	text := make([]byte, c.IntN(most+1))
	for i := range text {
		text[i] = from[c.IntN(len(from))]
	}
	return string(text)
}

const (
	letters    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	tokenChars = letters + "!#$%&'*+-.^_`|~"
	pathChars  = letters + "/-._~!$&'()*+,;=:@"
)

var visible = func() string {
	var b strings.Builder
	for c := 0x21; c < 0x7f; c++ {
		b.WriteByte(byte(c))
	}
	return b.String()
}()

func (c chance) value() string {
	text := c.chars(pick(c, letters, visible, visible+" \t", visible+" \t\x80\xc3\xa4\xff"), pick(c, 5, 30, 30, 300))
	return pick(c, " ", " ", "", "\t", "  ") + text + pick(c, "", "", "", " ", "\t")
}

// requestFields are now and then more than are read at once, and than keep their order.
func (c chance) requestFields() (all []field) {
	for range c.IntN(pick(c, 3, 12)) {
		all = append(all, c.requestField())
	}
	if c.of(20) {
		for range c.IntN(150) {
			all = append(all, field{"X-" + c.chars(letters, 2), c.value()})
		}
		all = append(all, field{"X-Long", " " + c.chars(visible, 8000)})
	}
	return all
}

func (c chance) requestField() field {
	switch c.IntN(4) {
	case 0:
		return field{"X-" + c.chars(tokenChars, 12), c.value()}
	case 1:
		return field{pick(c, "x-Twice", "X-TWICE", "X-Twice"), c.value()}
	case 2:
		return field{pick(c, "Cookie", "cookie"), " " + c.chars(letters, 5) + "=" + c.chars(letters, 20)}
	}
	return pick(c, field{"Accept", " */*"}, field{"Accept-Encoding", " gzip, br"}, field{"Content-Type", " text/plain; charset=utf-8"},
		field{"If-None-Match", ` W/"a"`}, field{"Range", " bytes=0-1"}, field{"Referer", " http://a/"}, field{"TE", " trailers"}, field{"Keep-Alive", " timeout=5"},
		field{"Connection", " keep-alive"}, field{"Authorization", " Basic YTpi"}, field{"Origin", " http://a"}, field{"Sec-Fetch-Site", " none"}, field{"Priority", " u=1"},
		field{"Date", " now"}, field{"Content-Encoding", " gzip"}, field{"Content-Language", " de"}, field{"Pragma", " no-cache"}, field{"Cache-Control", ""}, field{"From", " a@b"},
		field{"Access-Control-Request-Method", " PUT"}, field{"Expect-CT", " 1"}, field{"Proxy-Authorization", " Basic YTpi"})
}

func (c chance) target() string {
	path := "/" + c.chars(pick(c, letters, pathChars, pathChars+"%", visible), pick(c, 5, 20, 200))
	if c.of(3) {
		for range 3 {
			at := 1 + c.IntN(len(path))
			path = path[:at] + pick(c, "%2F", "%2f", "%00", "%20", "%C3%A4", "%ff", "//", "/../", "/./", "%2e%2e/", "%25", "+", "\xc3\xa4", ";a=b") + path[at:]
		}
	}
	path = strings.ReplaceAll(strings.ReplaceAll(path, "#", ""), "?", "")
	if c.of(2) {
		path += "?" + c.chars(pick(c, letters+"&=", pathChars+"?", visible), pick(c, 0, 20, 200))
	}
	return strings.ReplaceAll(path, "#", "")
}

// group is mostly one exchange, and otherwise several that leave the connection as it is.
func (c chance) group() []*mirrored {
	if !c.of(10) {
		return []*mirrored{c.mirrored()}
	}
	var all []*mirrored
	for most := 2 + c.IntN(3); len(all) < most; {
		m := c.mirrored()
		closes := slices.ContainsFunc(m.plan.Headers, func(h [2]string) bool { return h[0] == "Connection" })
		if m.version == "1.1" && !closes && !badEscape.MatchString(m.target) {
			all = append(all, m)
		}
	}
	return all
}

func (c chance) mirrored() *mirrored {
	m := &mirrored{
		method: pick(c, "GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "QUERY", "REPORT"),
		target: c.target(), version: pick(c, "1.1", "1.1", "1.1", "1.1", "1.0"),
	}
	m.fields = c.requestFields()
	if m.method != "GET" || c.of(5) {
		m.framing = pick(c, "", "sized", "sized", "chunked")
		if m.version == "1.0" {
			m.framing = pick(c, "", "sized")
		}
		if m.framing != "" {
			m.body = []byte(c.chars(visible+"\r\n\x00\xff", pick(c, 0, 1, 10, 600, 5000, 100000)))
		}
	}
	if c.of(3) {
		for range c.IntN(4) {
			m.cuts = append(m.cuts, 1+c.IntN(pick(c, 3, 50, 3000)))
		}
	}
	m.plan.Status = pick(c, 200, 200, 200, 201, 202, 203, 204, 205, 206, 299, 301, 304, 400, 401, 403, 404, 405, 409, 422, 426, 429, 451, 500, 502, 503, 504, 599)
	size := 0
	if m.method != "HEAD" && !slices.Contains([]int{http.StatusNoContent, http.StatusResetContent, http.StatusNotModified}, m.plan.Status) {
		for range c.IntN(5) {
			m.plan.Pieces = append(m.plan.Pieces, pick(c, -1, 1, 10, 511, 512, 513, 4096, 20000, 70000))
			size += max(0, m.plan.Pieces[len(m.plan.Pieces)-1])
		}
	}
	m.plan.Headers = [][2]string{}
	for range c.IntN(pick(c, 3, 12, 12, 100)) {
		m.plan.Headers = append(m.plan.Headers, c.answerField())
	}
	if c.of(2) && m.plan.Status != http.StatusNoContent {
		m.plan.Headers = append(m.plan.Headers, [2]string{pick(c, "content-length", "Content-Length"), strconv.Itoa(size)})
	}
	if len(m.text(""))-len(m.body) > 3<<10 { // net/http adds a Cache-Control for it where fieldOrder.undoPragma does not know that none came
		m.fields = slices.DeleteFunc(m.fields, func(f field) bool { return f.name == "Pragma" })
	}
	return m
}

func (c chance) answerField() [2]string {
	f := pick(c, field{"X-" + c.chars(tokenChars, 12), c.value()}, field{"x-twice", c.value()}, field{"X-Twice", c.value()}, field{"Vary", "Accept"}, field{"vary", "Origin"},
		field{"Content-Type", "text/html; charset=latin-1"}, field{"ETag", `"a"`}, field{"Last-Modified", "yesterday"}, field{"Location", "/a"}, field{"Location", "http://b/c"},
		field{"Cache-Control", "no-store"}, field{"WWW-Authenticate", `Basic realm="a"`}, field{"Link", "</a>; rel=b"}, field{"Retry-After", "3"}, field{"Allow", ""},
		field{"Content-Disposition", "attachment; filename=\"\xe4\""}, field{"Access-Control-Allow-Origin", "*"}, field{"Set-Cookie", "a=b"}, field{"Set-Cookie", "c=d; Secure"},
		field{"Content-Encoding", "gzip"}, field{"Content-Range", "bytes */5"}, field{"Accept-Ranges", "bytes"}, field{"Keep-Alive", "timeout=3"}, field{"Age", "1"}, field{"Alt-Svc", "clear"},
		field{"Strict-Transport-Security", "max-age=1"}, field{"Server", "own"}, field{"Date", "then"}, field{"Via", "1.1 a"}, field{"Connection", "close"})
	latin := make([]rune, 0, len(f.value))
	for _, b := range []byte(f.value) {
		latin = append(latin, rune(b))
	}
	return [2]string{f.name, string(latin)}
}
