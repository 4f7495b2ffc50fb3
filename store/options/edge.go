package options

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"apibuilder/store"
)

// edge are the settings about who may reach an API, and where.
var edge = []Option{
	of("host", "NAME", "none", "name at which the API answers by itself; the operator lists it in `--mapped-hosts` and points DNS to the server",
		func(o *store.Options) *string { return &o.Host }, parseHost, func(s string) string { return s }),
	list("public-paths", "[METHOD ]/PATH,...", "none", "requests that need no key, in their exact spelling; a `*` at the end of a path stands for anything",
		func(o *store.Options) *[]string { return &o.PublicPaths }, parsePublicPath),
	list("cors-origins", "ORIGIN,...", "the program answers", "origins whose pages may call the API, `null` for pages that have none, or `*`; the server then answers for the program",
		func(o *store.Options) *[]string { return &o.CORSOrigins }, parseOrigin),
	list("cors-methods", "METHOD,...", "any", "methods that those pages may use",
		func(o *store.Options) *[]string { return &o.CORSMethods }, parseMethod),
	list("cors-headers", "NAME,...", "any", "header fields that those pages may send",
		func(o *store.Options) *[]string { return &o.CORSHeaders }, parseFieldName),
	toggle("cors-credentials", "false", "whether those pages may send cookies",
		func(o *store.Options) *bool { return &o.CORSCredentials }),
	duration("cors-max-age", "5s, by browsers", "time that browsers may remember what those pages may do", time.Second, 24*time.Hour,
		func(o *store.Options) *time.Duration { return &o.CORSMaxAge }),
}

// anybodys are the origins that every page can have.
var anybodys = []string{"*", "null"}

// conflict finds settings that exclude each other; nil when there are none.
func conflict(o store.Options) *Error {
	for _, anybody := range anybodys {
		if o.CORSCredentials && slices.Contains(o.CORSOrigins, anybody) {
			return &Error{
				"cors-credentials", fmt.Sprintf("pages of every origin must not send cookies (cors-origins has %s)", anybody),
				"name the origins in cors-origins, or take cors-credentials back",
			}
		}
	}
	return nil
}

var (
	hostPattern  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	tokenPattern = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$") // RFC 9110, 5.6.2
	pathPattern  = regexp.MustCompile(`^/[!-~]*$`)
)

func parseHost(text string) (string, error) {
	host := strings.ToLower(text)
	if len(host) > 253 || !hostPattern.MatchString(host) {
		return "", fmt.Errorf("%q is no host name: write for example api.example.com, without a scheme or a port", text)
	}
	return host, nil
}

func parsePublicPath(text string) (string, error) {
	method, path, found := strings.Cut(text, " ")
	if !found {
		method, path = "", text
	}
	path = strings.TrimSpace(path)
	bare := strings.TrimSuffix(path, "*")
	switch {
	case method != "" && (!tokenPattern.MatchString(method) || method != strings.ToUpper(method)):
		return "", fmt.Errorf("%q is no method: write for example \"GET /health\"", method)
	case !pathPattern.MatchString(bare) || strings.ContainsAny(bare, "*?#"):
		return "", fmt.Errorf("%q is no path: write for example /health, or /static/* with a star at the end", path)
	case bare != path && !isPlain(bare):
		return "", fmt.Errorf("%q: what stands before a star may have no %%, no //, no . or .. as a segment", path)
	}
	if method == "" {
		return path, nil
	}
	return method + " " + path, nil
}

// isPlain reports whether a path can be read in one way only.
func isPlain(path string) bool {
	return !strings.ContainsAny(path, `%\;`) && !strings.Contains(path+"/", "/./") && !strings.Contains(path+"/", "/../") &&
		!strings.Contains(path, "//")
}

func parseOrigin(text string) (string, error) {
	if text == "*" || text == "null" { // the second is of files, sandboxed frames and the like (HTML standard, 7.1.1)
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != text || strings.ToLower(text) != text || !pathPattern.MatchString("/"+text) {
		return "", fmt.Errorf("%q is no origin: write for example https://app.example.com, as browsers do", text)
	}
	return text, nil
}

func parseMethod(text string) (string, error) {
	if !tokenPattern.MatchString(text) || text == "*" {
		return "", fmt.Errorf("%q is no method: write for example GET, POST", text)
	}
	return strings.ToUpper(text), nil
}

func parseFieldName(text string) (string, error) {
	if !tokenPattern.MatchString(text) || text == "*" {
		return "", fmt.Errorf("%q is no header field: write for example X-API-Key", text)
	}
	return http.CanonicalHeaderKey(text), nil
}

const mostMembers = 50

// list is a setting of several texts apart by commas.
func list(name, value, standard, usage string, field func(*store.Options) *[]string, parse func(string) (string, error)) Option {
	return Option{
		Name: name, Value: value, Default: standard, Usage: usage,
		set: func(o *store.Options, s string) error {
			var all []string
			for part := range strings.SplitSeq(s, ",") {
				member, err := parse(strings.TrimSpace(part))
				if err != nil {
					return err
				}
				if slices.Contains(all, member) {
					continue
				}
				if len(all) == mostMembers {
					return fmt.Errorf("there are more than the %d that there may be", mostMembers)
				}
				all = append(all, member)
			}
			*field(o) = all
			return nil
		},
		get:   func(o store.Options) string { return strings.Join(*field(&o), ", ") },
		unset: func(o *store.Options) { *field(o) = nil },
	}
}

// toggle is a setting that is true or false.
func toggle(name, standard, usage string, field func(*store.Options) *bool) Option {
	return of(name, "true|false", standard, usage, field, func(text string) (bool, error) {
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, errors.New("write true or false")
	}, func(bool) string { return "true" })
}
