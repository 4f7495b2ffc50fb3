package pythonenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// mirror is the package index as one build sees it. Its counts bound what the build may download.
type mirror struct {
	up     *upstream
	max    int64 // bytes of all answers together
	took   atomic.Int64
	say    func(string)
	exceed func() // called when max is exceeded

	large sync.Mutex // held by the request whose page has more than smallPage
}

// What one build may have of this process. uv asks for 50 things at a time at most, and code that a build runs for as many as it likes.
const (
	maxConnections = 512
	maxRequests    = 64
	smallPage      = 2 << 20 // bytes of a page beyond which only one is held at a time
)

// serve answers until the listener is closed.
func (m *mirror) serve(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler: severalAtATime(m, maxRequests), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	_ = server.Serve(netutil.LimitListener(l, maxConnections))
	cancel()
	_ = server.Close()
}

// severalAtATime has the others wait until they are answered or their client or the build has gone.
func severalAtATime(h http.Handler, n int) http.Handler {
	places := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-places }()
		h.ServeHTTP(w, r)
	})
}

// passedOn are the headers that mean something to both sides.
var (
	passedOn   = []string{"Accept", "Range", "If-Range", "If-None-Match", "If-Modified-Since"}
	passedBack = []string{
		"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified", "Cache-Control", "Retry-After",
		"X-Pypi-Last-Serial",
	}
)

// ServeHTTP implements http.Handler.
func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.serveDirect(w, r) {
		return
	}
	target, page, err := m.up.target(r.URL)
	if err != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		m.say(fmt.Sprintf("refused: %s %s is not an address of the package index", r.Method, quoted(r.URL.EscapedPath())))
		http.Error(w, "not an address of the package index", http.StatusForbidden)
		return
	}
	response, err := m.fetch(r, target, page)
	if err != nil {
		m.say(m.failure(target, err))
		http.Error(w, "the package index does not answer", http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	if page && response.StatusCode == http.StatusOK && r.Method == http.MethodGet {
		m.page(w, response)
		return
	}
	m.body(w, response)
}

// body passes an answer on. One that ends before its end must not look whole: uv would take half a file for the file, and half of a
// package's metadata for all that it requires.
func (m *mirror) body(w http.ResponseWriter, response *http.Response) {
	m.head(w, response)
	if _, err := io.Copy(w, m.counted(response.Body)); err != nil {
		panic(http.ErrAbortHandler) // the connection ends, and nothing is logged
	}
}

func (m *mirror) head(w http.ResponseWriter, response *http.Response) {
	for _, name := range passedBack {
		if v := response.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(response.StatusCode)
}

func (m *mirror) fetch(r *http.Request, target *url.URL, page bool) (*http.Response, error) {
	if err := m.up.check(target); err != nil {
		return nil, err
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if page && strings.HasSuffix(r.URL.Path, "/") && !strings.HasSuffix(out.URL.Path, "/") && out.URL.RawQuery == "" {
		out.URL = out.URL.JoinPath("/")
	}
	for _, name := range passedOn {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	out.Header.Set("User-Agent", "apibuilder")
	if !page { // a file arrives as it is; for pages the transport asks for compression
		out.Header.Set("Accept-Encoding", "identity")
	}
	m.up.authorize(out)
	return m.up.client.Do(out)
}

// failure says what went wrong without the address's credentials.
func (m *mirror) failure(target *url.URL, err error) string {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return fmt.Sprintf("cannot fetch from %s: %v", target.Host, err)
}

// maxPage bounds a page of links; the largest of the public index has some 30 MiB.
const maxPage = 128 << 20

// page answers with a page whose links lead through the mirror.
func (m *mirror) page(w http.ResponseWriter, response *http.Response) {
	from := m.counted(response.Body)
	text, err := io.ReadAll(io.LimitReader(from, smallPage))
	if err == nil && len(text) == smallPage {
		m.large.Lock()
		defer m.large.Unlock()
		if response.Request.Context().Err() != nil { // nobody waits any more
			return
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(from, maxPage+1-smallPage))
		text = append(text, rest...)
	}
	if err == nil && len(text) > maxPage {
		err = errors.New("the page is too large")
	}
	if err == nil {
		text, err = rewritePage(text, response.Header.Get("Content-Type"), response.Request.URL, m.up.fileURL)
	}
	if err != nil {
		m.say(m.failure(response.Request.URL, err))
		http.Error(w, "the page of the package index cannot be read", http.StatusBadGateway)
		return
	}
	response.Header.Set("Content-Length", fmt.Sprint(len(text)))
	m.head(w, response)
	_, _ = w.Write(text)
}

func (m *mirror) counted(r io.Reader) io.Reader { return countedReader{r, m} }

type countedReader struct {
	io.Reader
	m *mirror
}

var errTooMuch = errors.New("the build downloads too much")

func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.m.took.Add(int64(n)) > c.m.max {
		c.m.exceed()
		return n, errTooMuch
	}
	return n, err
}
