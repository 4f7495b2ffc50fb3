// Package client speaks the management API that package admin answers, over the data directory's Unix socket or over TCP
// with a token.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"syscall"

	"apibuilder/admin"
)

// maxLine bounds one line of a stream: a problem carries at most the installer's or the program's text.
const maxLine = 4 << 20

// Client calls one server. It may be used concurrently; its zero value is not usable.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// Local returns a Client for the server that uses the data directory dir.
func Local(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialLocal(ctx, dir) }
	return newClient("http://apibuilder", "", &http.Transport{DialContext: dial})
}

// Remote returns a Client for the server whose management API is at base, "https://host:port", and a token.
func Remote(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q is no address: give one like https://host:8081", base)
	}
	if token == "" {
		return nil, errors.New("a token is needed to reach a server by its address: set APIBUILDER_TOKEN")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return newClient(strings.TrimSuffix(base, "/"), token, transport), nil
}

func newClient(base, token string, transport http.RoundTripper) *Client {
	// A redirect would carry the token to somebody else.
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, token: token, http: &http.Client{Transport: transport, CheckRedirect: refuse}}
}

func dialLocal(ctx context.Context, dir string) (net.Conn, error) {
	at, err := admin.OpenDirectory(dir)
	if err != nil {
		return nil, explainDial(dir, err)
	}
	defer at.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", at.At(admin.SocketName))
	if err != nil {
		return nil, explainDial(dir, err)
	}
	return conn, nil
}

func explainDial(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the server of %s may be managed by root only: use sudo, or --server with a token", dir)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server runs on data directory %s: start one with `apibuilder serve --data-dir %s`, "+
			"or name the right one with --data-dir or --server", dir, dir)
	}
	return fmt.Errorf("connect to the server of %s: %w", dir, err)
}

// Path joins the parts of a path below /api/v1, escaping each.
func Path(parts ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, part := range parts {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(url.PathEscape(part), ".", "%2E")) // "." and ".." would be cleaned away
	}
	return b.String()
}

// Call sends body as JSON, none when it is nil, and reads the answer into into. The server's own errors are *admin.Problem. Where
// into is a pointer to a slice, the answer is a list, and its pages are read one after the other; a limit in the query is the
// most of all of them together then, 0 or none: there is no limit.
func (c *Client) Call(ctx context.Context, method, path string, body, into any) error {
	if list := reflect.ValueOf(into); method == http.MethodGet && list.Kind() == reflect.Pointer && list.Elem().Kind() == reflect.Slice {
		return c.list(ctx, path, list.Elem())
	}
	_, err := c.CallIf(ctx, method, path, "", body, into)
	return err
}

// CallIf is Call for something that must be as it was when it had that tag: else the error is a *admin.Problem of type
// precondition_failed. An empty tag is any. It returns the tag of what it is now, empty when the answer has none.
func (c *Client) CallIf(ctx context.Context, method, path, tag string, body, into any) (now string, err error) {
	response, err := c.send(ctx, method, path, tag, body)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if into == nil {
		return response.Header.Get("ETag"), nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return "", fmt.Errorf("read the server's answer: %w", err)
	}
	return response.Header.Get("ETag"), nil
}

// Lines reads an answer of one JSON value a line and calls each with every one, until the answer or ctx ends or each
// returns an error. A POST whose connection breaks is sent once more; the server does not carry it out twice, and what each was
// called with before is left out.
func Lines[T any](ctx context.Context, c *Client, method, path string, body any, each func(T) error) error {
	seen := 0
	err := retry(ctx, method, func(key string) error {
		var last *T // the line before the end is told although it was seen, because it is the result
		n := 0
		err := c.lines(ctx, method, path, key, body, func(line []byte) error {
			value, err := decode[T](line)
			if err != nil {
				return err
			}
			if n++; n <= seen {
				last = &value
				return nil
			}
			last, seen = nil, n
			return each(value)
		})
		if err == nil && last != nil {
			return each(*last)
		}
		return err
	})
	return err
}

func (c *Client) lines(ctx context.Context, method, path, key string, body any, each func([]byte) error) error {
	response, err := c.sendOnce(ctx, method, path, "", key, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return eachLine(response.Body, each)
}

func decode[T any](line []byte) (value T, err error) {
	if err = json.Unmarshal(line, &value); err != nil {
		err = fmt.Errorf("read the server's answer: %w", err)
	}
	return value, err
}

// eachLine calls each with every line of an answer, until it ends or each returns an error.
func eachLine(answer io.Reader, each func([]byte) error) error {
	lines := bufio.NewScanner(answer)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// wholeLines is bufio.ScanLines that knows a line which was cut.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if atEOF && len(data) > 0 && bytes.IndexByte(data, '\n') < 0 {
		return len(data), nil, io.ErrUnexpectedEOF
	}
	return bufio.ScanLines(data, atEOF)
}

// Deploy sends a deploy and calls progress with what happens. An answer that ends early is an error: the deploy may or may
// not have succeeded then.
func (c *Client) Deploy(ctx context.Context, r admin.DeployRequest, progress func(string)) (admin.DeployResult, error) {
	var last admin.DeployEvent
	err := Lines(ctx, c, http.MethodPost, Path("deploys"), r, func(e admin.DeployEvent) error {
		if e.Progress != "" {
			progress(e.Progress)
		}
		last = e
		return nil
	})
	switch {
	case err != nil:
		return admin.DeployResult{}, err
	case last.Error != nil:
		return admin.DeployResult{}, last.Error
	case last.Result == nil:
		return admin.DeployResult{}, errors.New("the server went away during the deploy: see `apibuilder apis show`")
	}
	return *last.Result, nil
}

// Lock has the server resolve requirements and calls progress with what happens.
func (c *Client) Lock(ctx context.Context, r admin.LockRequest, progress func(string)) (string, error) {
	var last admin.LockEvent
	err := Lines(ctx, c, http.MethodPost, Path("locks"), r, func(e admin.LockEvent) error {
		if e.Progress != "" {
			progress(e.Progress)
		}
		last = e
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case last.Error != nil:
		return "", last.Error
	case last.Lock == "":
		return "", errors.New("the server went away while it resolved: try again")
	}
	return last.Lock, nil
}

// send sends a request, a POST once more when its connection breaks.
func (c *Client) send(ctx context.Context, method, path, tag string, body any) (response *http.Response, err error) {
	err = retry(ctx, method, func(key string) error {
		response, err = c.sendOnce(ctx, method, path, tag, key, body) //nolint:bodyclose // who asked closes it
		return err
	})
	return response, err
}

func (c *Client) sendOnce(ctx context.Context, method, path, tag, key string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{"If-Match": tag, "Idempotency-Key": key} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // its text begins with the method and a host name that is made up
		}
		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && c.token != "" {
			err = fmt.Errorf("no server answers at %s (%w): correct --server, or ask its operator for the address of --admin-listen", c.base, err)
		}
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	return nil, readProblem(response)
}

func readProblem(response *http.Response) error {
	problem := new(admin.Problem)
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	err := json.NewDecoder(io.LimitReader(response.Body, maxLine)).Decode(problem)
	if kind != "application/problem+json" || err != nil {
		return fmt.Errorf("the server answered %s and is no management API: give the address of one", response.Status)
	}
	if id := problem.RequestID; problem.Type == "not_found" && id != "" && !strings.HasPrefix(id, "req_") { // a gateway's
		problem.Detail, problem.Remedy = "this is the address for consumers, and no management API", "ask the operator for that of --admin-listen"
	}
	return problem
}
