package cli

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"unicode"

	"github.com/urfave/cli/v3"
)

// token is a method or the name of a header field (RFC 9110, 5.6.2).
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// call is one request that sandbox test is told to send.
type call struct {
	method, path string
	header       http.Header
	body         []byte
	given        bool // by the user, not found among the routes
}

// callFlags collects --request, --data and --header in the order of the command line, because the latter two belong to
// the request before them. Mistakes are kept until the command runs: a flag's own error would repeat its value.
type callFlags struct {
	calls []call
	err   error
}

func (c *callFlags) flags() []cli.Flag {
	flag := func(name, usage string, set func(string) error) cli.Flag {
		return &cli.GenericFlag{Name: name, Usage: usage, HideDefault: true, Value: &callFlag{c, set}}
	}
	return []cli.Flag{
		flag("request", "send `'METHOD /path'` too, may be given several times", c.addRequest),
		flag("data", "body of the --request before it, `TEXT` or @FILE", c.setData),
		flag("header", "`'Name: value'` of the --request before it, may be given several times", c.addHeader),
	}
}

func (c *callFlags) addRequest(text string) error {
	method, path, ok := strings.Cut(text, " ")
	if !ok || !token.MatchString(method) || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n") {
		return usagef("--request %q: write 'METHOD /path', for example 'POST /resize'", text)
	}
	c.calls = append(c.calls, call{method: method, path: path, header: http.Header{}, given: true})
	return nil
}

func (c *callFlags) setData(text string) error {
	if len(c.calls) == 0 {
		return usagef("--data belongs to the --request before it, and there is none")
	}
	last := &c.calls[len(c.calls)-1]
	path, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		last.body = []byte(text)
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return usagef("--data: %v", err)
	}
	last.body = raw
	return nil
}

func (c *callFlags) addHeader(text string) error {
	if len(c.calls) == 0 {
		return usagef("--header belongs to the --request before it, and there is none")
	}
	name, value, ok := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	if !ok || !token.MatchString(name) || strings.ContainsFunc(value, unicode.IsControl) {
		return usagef("--header number %d is not valid: write 'Name: value'", len(c.calls[len(c.calls)-1].header)+1)
	}
	c.calls[len(c.calls)-1].header.Add(name, value)
	return nil
}

// callFlag is one of the three (flag.Getter).
type callFlag struct {
	all *callFlags
	set func(string) error
}

// Set implements flag.Value.
func (f *callFlag) Set(text string) error {
	if f.all.err == nil {
		f.all.err = f.set(text)
	}
	return nil
}

// String implements flag.Value.
func (f *callFlag) String() string { return "" }

// Get implements flag.Getter.
func (f *callFlag) Get() any { return f }
