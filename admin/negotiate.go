package admin

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// pattern is the route of a request, empty when there is none. ServeMux would redirect a path that is not in its plain form.
func (s *Server) pattern(r *http.Request) string {
	if escaped := r.URL.EscapedPath(); path.Clean(escaped) != escaped {
		return ""
	}
	_, pattern := s.mux.Handler(r)
	return pattern
}

// methods are those that the path of a request takes, nil when there is no such path.
func (s *Server) methods(r *http.Request) []string {
	var all []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if s.pattern(other) != "" {
			all = append(all, method)
		}
	}
	if all == nil {
		return nil
	}
	return append(all, http.MethodOptions)
}

// check refuses what a handler does not see: what the client accepts, the type of the body, the query.
func (op operation) check(r *http.Request) error {
	if !accepts(r.Header.Values("Accept"), op.answerType()) {
		return &requestError{
			"not_acceptable", fmt.Sprintf("the answer would be %s, which the Accept header does not allow", op.answerType()),
			"accept it, or leave the header out",
		}
	}
	if op.body != nil {
		if err := checkContent(r.Header); err != nil {
			return err
		}
	}
	return op.checkQuery(r.URL.RawQuery)
}

// accepts reports whether an Accept header (RFC 9110, 12.5.1) allows a type. The most specific range that matches decides. A header
// that cannot be read allows nothing.
func accepts(header []string, kind string) bool {
	text := strings.TrimSpace(strings.Join(header, ","))
	if text == "" {
		return true
	}
	group, _, _ := strings.Cut(kind, "/")
	best, allowed := -1, false
	for part := range strings.SplitSeq(text, ",") {
		accepted, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		specific := slices.Index([]string{"*/*", group + "/*", kind}, accepted)
		if specific <= best {
			continue
		}
		weight := 1.0
		if q, ok := parameters["q"]; ok {
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		best, allowed = specific, weight > 0
	}
	return allowed
}

// checkContent refuses a body that says of itself that it is no JSON. One that says nothing is taken for it.
func checkContent(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &requestError{"unsupported_media_type", fmt.Sprintf("the body is encoded as %q", coding), "send it plain"}
	}
	text := h.Get("Content-Type")
	if text == "" {
		return nil
	}
	kind, parameters, err := mime.ParseMediaType(text)
	if charset := parameters["charset"]; err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		return nil
	}
	return &requestError{
		"unsupported_media_type", fmt.Sprintf("the body is %q, and JSON in UTF-8 is expected", text), "send `Content-Type: application/json`",
	}
}

// checkQuery refuses parameters that the operation does not have, so that a misspelt one is not lost without a word.
func (op operation) checkQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return badRequest("the query cannot be read: "+err.Error(), "encode it")
	}
	parameters := op.parameters()
	for name, values := range query {
		i := slices.IndexFunc(parameters, func(p parameter) bool { return p.name == name })
		switch {
		case i < 0:
			return badRequest(fmt.Sprintf("there is no parameter %q here", name), "use "+names(parameters))
		case len(values) > 1:
			return badRequest(fmt.Sprintf("the parameter %s is given %d times", name, len(values)), "give it once")
		}
		if err := parameters[i].check(values[0]); err != nil {
			return err
		}
	}
	return nil
}

func names(parameters []parameter) string {
	if len(parameters) == 0 {
		return "none"
	}
	var all []string
	for _, p := range parameters {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

// check refuses a value that the document does not allow. An empty one counts as left out.
func (p parameter) check(text string) error {
	if text == "" {
		return nil
	}
	switch p.kind {
	case "integer":
		if n, err := strconv.Atoi(text); err != nil || n < p.least || n > p.most {
			return badRequest(fmt.Sprintf("%s=%q is not a number from %d to %d", p.name, text, p.least, p.most), "leave it out, or give one")
		}
	case "boolean":
		if text != "true" && text != "false" {
			return badRequest(fmt.Sprintf("%s=%q is neither true nor false", p.name, text), "give one of them")
		}
	case "date-time":
		if _, err := parseTime(text); err != nil {
			return badRequest(fmt.Sprintf("%s=%q is no time", p.name, text), "give one like 2024-05-01T12:00:00Z")
		}
	}
	if p.enum != nil && !slices.Contains(p.enum, text) {
		return badRequest(fmt.Sprintf("%s=%q is not known", p.name, text), "use "+strings.Join(p.enum, ", "))
	}
	return nil
}
