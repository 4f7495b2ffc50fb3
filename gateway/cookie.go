package gateway

import "strings"

// cookie is a Set-Cookie field, as browsers read it (RFC 6265, 5.2).
type cookie struct {
	pair   string   // name=value
	rest   []string // attributes but the two below
	domain string   // empty: none
	path   string   // the last one; empty: none
}

func parseCookie(text string) *cookie {
	parts := strings.Split(text, ";")
	c := &cookie{pair: parts[0]}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "domain":
			c.domain = value
		case "path":
			c.path = value
		default:
			c.rest = append(c.rest, part)
		}
	}
	return c
}

// confine makes it a cookie of this host alone, below a prefix. A path that is not below it is taken for one that the
// program thinks of as its own.
func (c *cookie) confine(prefix string) {
	c.domain = ""
	if !strings.HasPrefix(c.path, "/") {
		c.path = "/"
	}
	if c.path != prefix && !strings.HasPrefix(c.path, prefix+"/") {
		c.path = prefix + c.path
	}
	if c.path == prefix {
		c.path += "/"
	}
}

func (c *cookie) String() string {
	var b strings.Builder
	b.WriteString(c.pair)
	for _, part := range c.rest {
		b.WriteString(";" + part)
	}
	if c.domain != "" {
		b.WriteString("; Domain=" + c.domain)
	}
	if c.path != "" {
		b.WriteString("; Path=" + c.path)
	}
	return b.String()
}

// eachCookie changes the cookies that a header sets.
func (l *fieldList) eachCookie(change func(*cookie)) {
	for i := range l.list {
		if f := &l.list[i]; f.name == "Set-Cookie" {
			c := parseCookie(f.value)
			change(c)
			f.value = c.String()
		}
	}
}
