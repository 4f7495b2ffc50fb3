package pythonenv

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"apibuilder/egress"
)

// mirrorURL is where the jailed uv finds the index. Nothing else answers there.
const mirrorURL = "http://127.0.0.1"

// upstream is how this process reaches the configured indexes for the builds: with the operator's credentials, certificates
// and proxy, none of which a build gets to see. It may be used concurrently.
type upstream struct {
	indexes []*url.URL          // by preference
	links   []*url.URL          // pages of files
	own     map[string]bool     // host:port that the operator named; any address is right for them
	byID    map[string]*url.URL // what a path begins with, to the index or page that it stands for
	secret  []byte              // signs the addresses of files
	client  *http.Client
	gate    *egress.Gate
	guard   *egress.Guard
	ssh     *GitSSH
	git     []*url.URL              // with credentials, the closest first
	direct  map[string]*http.Client // for direct references, by kind; they stay at allowed hosts and carry no credentials
}

// errForbidden says that an address was refused.
var errForbidden = errors.New("not an address of the package index")

func newUpstream(cfg Config, secret []byte) (*upstream, error) {
	u := &upstream{own: map[string]bool{}, byID: map[string]*url.URL{}, secret: secret, git: cfg.GitCredentials, ssh: cfg.GitSSH}
	add := func(to *[]*url.URL, address string) error {
		parsed, err := url.Parse(strings.TrimRight(address, "/"))
		if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return errors.New("one of the configured package indexes is not an address with http:// or https://")
		}
		*to = append(*to, parsed)
		u.own[hostPort(parsed)] = true
		u.byID[idOf(parsed)] = parsed
		return nil
	}
	u.gate, u.guard = newGate()
	for _, index := range cfg.indexes() {
		if err := add(&u.indexes, index); err != nil {
			return nil, err
		}
	}
	for _, link := range cfg.FindLinks {
		if !strings.Contains(link, "://") {
			continue
		}
		if err := add(&u.links, link); err != nil {
			return nil, err
		}
	}
	for _, name := range proxyVariables {
		if parsed, err := url.Parse(os.Getenv(name)); err == nil && parsed.Host != "" {
			u.own[hostPort(parsed)] = true
		}
	}
	roots, err := authorities(cfg.CertFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: u.dial, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second,
	}
	for _, host := range cfg.Allow.own() {
		u.own[host] = true
	}
	u.direct = map[string]*http.Client{
		directURL: {Transport: transport, CheckRedirect: u.stayAt(cfg.Allow.URLs)},
		directGit: {Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
			u.authorizeGit(r)
			return u.stayAt(cfg.Allow.Git)(r, via)
		}},
	}
	u.client = &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("too many redirections")
		}
		return u.check(r.URL)
	}}
	return u, nil
}

// stayAt follows redirections within the hosts that the operator allows.
func (u *upstream) stayAt(hosts []string) func(r *http.Request, via []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("too many redirections")
		}
		if !hostAllowed(hosts, r.URL) {
			return fmt.Errorf("%w: it redirects to %s, which is not among the allowed hosts", errForbidden, r.URL.Host)
		}
		return u.check(r.URL)
	}
}

// close ends all connections.
func (u *upstream) close() {
	u.client.CloseIdleConnections()
	u.guard.Close()
}

// authorities are the system's and the configured ones; nil means the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the CA bundle: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the CA bundle: %s holds no certificate", file)
	}
	return pool, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080", "ssh": "22"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// idOf names an index in addresses. Another password is not another index.
func idOf(u *url.URL) string {
	bare := *u
	bare.User = nil
	return hashOf(bare.String())[:16]
}

// check refuses what no page of an index should lead to.
func (u *upstream) check(target *url.URL) error {
	if target.Scheme != "http" && target.Scheme != "https" || target.Hostname() == "" {
		return fmt.Errorf("%w: %s", errForbidden, target.Redacted())
	}
	return nil
}

// dial connects to hosts that the operator named, and to what an API that may reach the whole internet reaches: the index decides where
// its files are, and must not be able to choose something inside this network, this host or its cloud's metadata.
func (u *upstream) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := destination(address)
	if err != nil {
		return nil, err
	}
	if !u.own[strings.ToLower(address)] {
		conn, err := u.guard.Dial(ctx, to)
		if err != nil {
			return nil, err // and no *egress.Conn that is nil
		}
		return conn, nil
	}
	d := net.Dialer{Timeout: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return u.guard.Adopt(conn.(*net.TCPConn), to), nil //nolint:forcetypeassert // the transport dials "tcp" alone
}

// destination reads a host and port.
func destination(address string) (to egress.Destination, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return to, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return to, err
	}
	to.Port = uint16(number)
	if to.Addr, err = netip.ParseAddr(host); err != nil {
		to.Name = strings.TrimSuffix(strings.ToLower(host), ".")
	}
	return to, nil
}

// newGate is what decides about addresses that no operator named, and counts all of them.
func newGate() (*egress.Gate, *egress.Guard) {
	everything := egress.Policy{Internet: true, Rules: documentation()} // exceptions are to be named
	gate := egress.NewGate(egress.Config{
		Ceiling: &egress.Ceiling{Most: everything, Private: everything.Rules}, Limits: egress.Limits{Connections: -1, PerSecond: -1, Bandwidth: -1},
	})
	guard := gate.Guard()
	guard.Bind(Egress, everything, gate.Turn(), nil)
	return gate, guard
}

// documentation are the ranges for documentation (RFC 5737) at the ports of HTTP. They are nobody's, so there is nothing inside them to
// keep an index from, and networks that imitate the internet use them.
func documentation() (rules []egress.Rule) {
	for _, prefix := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} {
		for _, port := range []uint16{80, 443} {
			rules = append(rules, egress.Rule{Prefix: netip.MustParsePrefix(prefix), Port: port})
		}
	}
	return rules
}

// Egress is whose connections those of builds are, where an API's id stands for those of its programs.
const Egress = "builds"

// sign is put before the address of a file, so that only addresses from pages of an index are fetched.
func (u *upstream) sign(address string) string {
	mac := hmac.New(sha256.New, u.secret)
	mac.Write([]byte(address))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// localURL is where the mirror has an address. What is signed as one kind is nothing as another: a file of an index is fetched with
// the operator's credentials.
func (u *upstream) localURL(kind string, address *url.URL) string {
	text := address.String()
	host, path, slash := strings.Cut(strings.TrimPrefix(text, address.Scheme+"://"), "/")
	if slash {
		path = "/" + path
	}
	if kind == "g" { // uv takes a colon before the @ of a revision for a password
		host = strings.NewReplacer(":", "~", "@", "!").Replace(host)
	}
	return mirrorURL + "/" + kind + "/" + u.sign(kind+" "+text) + "/" + address.Scheme + "/" + host + path
}

// fileURL is where the mirror has a file.
func (u *upstream) fileURL(file *url.URL) string {
	bare := *file
	bare.User, bare.Fragment, bare.RawFragment = nil, "", ""
	local := u.localURL("f", &bare)
	if file.Fragment != "" {
		local += "#" + file.EscapedFragment()
	}
	return local
}

var projectPage = regexp.MustCompile(`^[A-Za-z0-9._-]+/?$`)

// target finds what the path of a request stands for; page says that its answer is a page of links.
func (u *upstream) target(r *url.URL) (target *url.URL, page bool, err error) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.EscapedPath(), "/"), "/")
	id, rest, _ := strings.Cut(rest, "/")
	switch kind {
	case "i":
		index := u.byID[id]
		if index == nil {
			break
		}
		if slices.Contains(u.links, index) { // a page may have a query, and is one page
			return index, true, nil
		}
		// A project's page and nothing else: the operator's credentials go with it.
		if !projectPage.MatchString(rest) || strings.Trim(rest, "./") == "" {
			break
		}
		return index.JoinPath(rest), true, nil
	case "f":
		scheme, rest, _ := strings.Cut(rest, "/")
		address := scheme + "://" + rest
		if r.RawQuery != "" {
			address += "?" + r.RawQuery
		}
		// PEP 658: what a wheel says of itself has the wheel's address and a suffix.
		for _, signed := range []string{address, strings.TrimSuffix(address, ".metadata")} {
			if hmac.Equal([]byte(u.sign("f "+signed)), []byte(id)) {
				target, err := url.Parse(address)
				return target, false, err
			}
		}
	}
	return nil, false, fmt.Errorf("%w: %s", errForbidden, r.EscapedPath())
}

// authorize adds the operator's credentials where they belong: at the host of an index.
func (u *upstream) authorize(r *http.Request) {
	for _, index := range slices.Concat(u.indexes, u.links) {
		if index.User != nil && index.Scheme == r.URL.Scheme && hostPort(index) == hostPort(r.URL) {
			password, _ := index.User.Password()
			r.SetBasicAuth(index.User.Username(), password)
			r.URL.User = nil
			return
		}
	}
}

// realHost gives the host in an address of the mirror its own form, see localURL.
func realHost(host string) string { return strings.NewReplacer("~", ":", "!", "@").Replace(host) }

var mirrored = regexp.MustCompile(`http://127\.0\.0\.1/(?:i/([0-9a-f]{16})|[fdg]/[0-9a-f]{32}/(https?|ssh)/([^/\s]*))`)

// original gives the addresses in uv's words their own form.
func (u *upstream) original(line string) string {
	return mirrored.ReplaceAllStringFunc(line, func(found string) string {
		m := mirrored.FindStringSubmatch(found)
		if m[2] != "" {
			return m[2] + "://" + realHost(m[3])
		}
		if index := u.byID[m[1]]; index != nil {
			bare := *index
			bare.User, bare.RawQuery = nil, ""
			return bare.String()
		}
		return found
	})
}
