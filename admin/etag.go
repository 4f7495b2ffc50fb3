package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"apibuilder/store"
)

// tagged is an answer with the entity tag of what it shows.
type tagged struct {
	answer any
	tag    string
}

// tagOf is the entity tag (RFC 9110, 8.8.3) of something as it is stored. It changes with whatever can be changed of it, and not
// with what runs or is used: who read it may change it as long as nobody else did.
func tagOf(what any) string {
	switch row := what.(type) {
	case store.API:
		row.CodeSnapshot, row.Requirements = "", "" // the active version says which they are
		what = row
	case store.Key:
		row.LastUsedAt = row.CreatedAt
		what = row
	}
	text, err := json.Marshal(what)
	if err != nil {
		panic(err) // rows have a form in JSON
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%T %s", what, text))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// condition is what a request demands of a thing as it is.
type condition struct {
	match    []string // one of these tags; nil: any
	mustBe   bool     // If-Match is there
	mustLack bool     // If-None-Match: *
}

// conditionOf reads If-Match and If-None-Match (RFC 9110, 13.1).
func conditionOf(r *http.Request) (c condition, err error) {
	if text := strings.TrimSpace(strings.Join(r.Header.Values("If-Match"), ",")); text != "" {
		c.mustBe = true
		if text != "*" {
			if c.match, err = parseTags(text); err != nil {
				return c, err
			}
		}
	}
	switch text := strings.TrimSpace(strings.Join(r.Header.Values("If-None-Match"), ",")); {
	case text == "*":
		c.mustLack = true
	case text != "" && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return c, badRequest(fmt.Sprintf("If-None-Match: %s cannot be heeded here", text), "use If-Match with a tag, or If-None-Match: *")
	}
	return c, nil
}

// parseTags reads a list of entity tags. Weak ones are left out: If-Match never matches them.
func parseTags(text string) ([]string, error) {
	tags := []string{}
	for {
		text = strings.TrimLeft(text, " \t,")
		if text == "" {
			return tags, nil
		}
		strong, weak := strings.CutPrefix(text, "W/")
		if !strings.HasPrefix(strong, `"`) {
			break
		}
		end := strings.IndexByte(strong[1:], '"')
		if end < 0 {
			break
		}
		if !weak {
			tags = append(tags, strong[:end+2])
		}
		text = strings.TrimLeft(strong[end+2:], " \t")
		if text != "" && text[0] != ',' {
			break
		}
	}
	return nil, badRequest("the If-Match header is no list of entity tags", `give the ETag of an answer as it is, like If-Match: "x1y2"`)
}

// check returns an error for a thing that is not as the condition demands.
func (c condition) check(there bool, tag string) error {
	stale := &requestError{
		"precondition_failed", "it is not as it was when it was read: somebody else has changed it", "read it again, and decide anew",
	}
	switch {
	case c.mustLack && there:
		return &requestError{"precondition_failed", "it is there already", "leave out If-None-Match to change it"}
	case c.mustBe && !there:
		return stale
	}
	if c.match == nil {
		return nil
	}
	for _, one := range c.match {
		if one == tag {
			return nil
		}
	}
	return stale
}

// checkOf is a condition on a row of the store.
func checkOf[T any](c condition) store.Check[T] {
	return func(now T) error { return c.check(true, tagOf(now)) }
}
