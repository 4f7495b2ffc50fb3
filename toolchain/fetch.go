package toolchain

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxPage bounds a page of the index. The longest known pages have a few MB.
const maxPage = 64 << 20

// retry says how often and how patiently to ask.
type retry struct {
	attempts int
	pause    time.Duration // before the second attempt; doubled for each further one
	idle     time.Duration // how long nothing may arrive
}

var defaultRetry = retry{attempts: 4, pause: 500 * time.Millisecond, idle: 30 * time.Second}

// fetcher asks one index. Credentials go to the index's own scheme, host and port, and nowhere else.
type fetcher struct {
	client *http.Client
	index  *url.URL // without credentials
	user   *url.Userinfo
	retry  retry
}

func newFetcher(index Index, r retry) (*fetcher, error) {
	u, err := url.Parse(index.URL)
	if err != nil {
		return nil, errors.New("read the address of the package index: it is not a URL")
	}
	roots, err := rootsWith(index.CertFile)
	if err != nil {
		return nil, err
	}
	f := &fetcher{user: u.User, retry: r}
	u.User = nil
	f.index = u
	f.client = &http.Client{CheckRedirect: f.redirect, Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: r.idle,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
	}}
	return f, nil
}

func (f *fetcher) close() { f.client.CloseIdleConnections() }

// rootsWith adds a bundle to the system's authorities; nil means the system's alone.
func rootsWith(certFile string) (*x509.CertPool, error) {
	if certFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read the CA bundle: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA bundle %s holds no certificate in PEM form", certFile)
	}
	return roots, nil
}

// wheel fetches a pin's wheel and verifies it.
func (f *fetcher) wheel(ctx context.Context, p pin) ([]byte, error) {
	from, err := f.find(ctx, p)
	if err != nil {
		return nil, err
	}
	wheel, _, _, err := f.get(ctx, from, "*/*", p.size)
	if err != nil {
		return nil, err
	}
	return wheel, p.check(wheel)
}

// find asks the index for the address of the pin's wheel.
func (f *fetcher) find(ctx context.Context, p pin) (*url.URL, error) {
	body, kind, at, err := f.get(ctx, f.index.JoinPath(p.project, "/"), accept, maxPage)
	if err != nil {
		return nil, err
	}
	links, err := parsePage(body, kind, at)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.name != p.wheel {
			continue
		}
		if l.sha256 != "" && l.sha256 != p.sha256 {
			return nil, fmt.Errorf("the index %s offers %s with sha256 %s, not the pinned %s",
				bare(f.index), p.wheel, l.sha256, p.sha256)
		}
		if l.url.Scheme != "https" && l.url.Scheme != "http" {
			return nil, fmt.Errorf("the index %s offers %s at an address that is not http", bare(f.index), p.wheel)
		}
		return l.url, nil
	}
	return nil, fmt.Errorf("the index %s does not offer %s", bare(f.index), p.wheel)
}

// get fetches at most limit bytes, trying again after what may pass by itself.
func (f *fetcher) get(ctx context.Context, u *url.URL, accept string, limit int64) ([]byte, string, *url.URL, error) {
	pause := f.retry.pause
	for attempt := 1; ; attempt++ {
		body, kind, at, err := f.getOnce(ctx, u, accept, limit)
		var last *finalError
		if err == nil || errors.As(err, &last) || attempt >= f.retry.attempts || ctx.Err() != nil {
			return body, kind, at, err
		}
		select {
		case <-ctx.Done():
			return nil, "", nil, err
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// finalError is an answer that would be the same again.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func (f *fetcher) getOnce(ctx context.Context, u *url.URL, accept string, limit int64) ([]byte, string, *url.URL, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(f.retry.idle, func() { cancel(fmt.Errorf("nothing arrived for %s", f.retry.idle)) })
	defer idle.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", nil, &finalError{fmt.Errorf("fetch %s: not a valid address", bare(u))}
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "apibuilder")
	f.authorize(req)
	resp, err := f.client.Do(req) //nolint:bodyclose // closed below; the linter loses it on the way through progress
	if err != nil {
		return nil, "", nil, fmt.Errorf("fetch %s: %w", bare(u), withCause(ctx, withoutURL(err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", nil, statusError(resp, u)
	}
	var body bytes.Buffer
	progress := readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		idle.Reset(f.retry.idle)
		return n, err
	})
	if _, err := body.ReadFrom(io.LimitReader(progress, limit+1)); err != nil {
		return nil, "", nil, fmt.Errorf("fetch %s: the download broke off after %d bytes: %w",
			bare(u), body.Len(), withCause(ctx, err))
	}
	if int64(body.Len()) > limit {
		return nil, "", nil, &finalError{fmt.Errorf("fetch %s: it is longer than %d bytes", bare(u), limit)}
	}
	return body.Bytes(), resp.Header.Get("Content-Type"), resp.Request.URL, nil
}

func (f *fetcher) authorize(req *http.Request) {
	if f.user == nil || req.URL.Scheme != f.index.Scheme || req.URL.Host != f.index.Host {
		return
	}
	password, _ := f.user.Password()
	req.SetBasicAuth(f.user.Username(), password)
}

// redirect follows up to ten redirects, none from https to http, and takes credentials along only to the index itself.
func (f *fetcher) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("too many redirects")
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("refused a redirect from https to %s", req.URL.Scheme)
	}
	req.Header.Del("Authorization")
	f.authorize(req)
	return nil
}

func statusError(resp *http.Response, u *url.URL) error {
	err := fmt.Errorf("fetch %s: the index answered %s", bare(u), resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &finalError{fmt.Errorf("%w: give credentials in its configured address", err)}
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return err
	}
	return &finalError{err}
}

// withoutURL unwraps net/http's error, whose text repeats the address and so perhaps a secret in its query.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// withCause says why the context ended rather than that it did.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
