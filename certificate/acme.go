package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LetsEncrypt is the directory of the authority that is asked when no other is named.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// acmeProtocol is the one of TLS in which an authority asks whether a name is ours (RFC 8737).
const acmeProtocol = "acme-tls/1"

// ACMEConfig is how certificates are obtained.
type ACMEConfig struct {
	Email     string // of the account
	Directory string // URL of the authority's directory (RFC 8555, 7.1.1)
	Storage   string // directory for account, keys and certificates; made when it is needed, readable by its owner alone
	// Roots are what the directory's own certificate is checked against; nil: what the machine trusts.
	Roots *x509.CertPool
	// Known returns nil for names, in lower case, for which certificates are obtained. It is called concurrently.
	Known func(ctx context.Context, name string) error
	// DefaultName is taken for handshakes without a name. It may be empty.
	DefaultName string
	// TLS is the address whose handshakes ask Certificate, and Plain one whose requests are given to AnswerChallenge: the
	// authority must reach the first at port 443, and the second, which may be nil, at port 80.
	TLS, Plain net.Addr
	Log        *zap.Logger
}

// ACME obtains a certificate for each known name when somebody first asks for it, keeps it in files, and renews it. It may be
// used concurrently.
type ACME struct {
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer

	get         func(*tls.ClientHelloInfo) (*tls.Certificate, error) // the config's
	known       func(ctx context.Context, name string) error
	defaultName string

	waiting  waiting
	failures failures
}

// NewACME returns an ACME; Stop ends it. It does no I/O.
func NewACME(c ACMEConfig) *ACME {
	a := &ACME{known: c.Known, defaultName: strings.ToLower(c.DefaultName)}
	c.Log = c.Log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Minute, mostLines, 1000)
	}))
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Capacity:         mostCertificates,
		Logger:           c.Log,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: c.Storage},
		DefaultServerName: c.DefaultName,
		OnDemand: &certmagic.OnDemandConfig{DecisionFunc: func(ctx context.Context, name string) error {
			return c.Known(ctx, strings.ToLower(strings.TrimSuffix(name, ".")))
		}},
		Logger: c.Log,
	})
	host, port := hostAndPort(c.TLS)
	issuer := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: c.Roots, Logger: c.Log,
		ListenHost: host, AltTLSALPNPort: port, DisableHTTPChallenge: c.Plain == nil,
	}
	if c.Plain != nil {
		_, issuer.AltHTTPPort = hostAndPort(c.Plain)
	}
	a.issuer = certmagic.NewACMEIssuer(a.config, issuer)
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	a.get = a.config.GetCertificate
	return a
}

// mostLines of one kind are in the log in a minute, and one in a thousand of the others: strangers cause them, by each handshake that
// looks like an authority's.
const mostLines = 100

// mostCertificates are kept in memory; the others are read from their files when they are asked for.
const mostCertificates = 10_000

// hostAndPort are where certmagic looks whether somebody listens, before it would listen by itself.
func hostAndPort(addr net.Addr) (string, int) {
	tcp, ok := addr.(*net.TCPAddr)
	switch {
	case !ok:
		return "", 0
	case tcp.IP.IsUnspecified():
		return "", tcp.Port
	}
	return tcp.IP.String(), tcp.Port
}

// Certificate is a Source. The first handshakes for a name wait until there is a certificate, for minutes where an authority does not
// give one; after that, none is asked for under that name for a while.
func (a *ACME) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{acmeProtocol}) { // the authority's (RFC 8737, 3), for which the others wait
		return a.config.GetCertificate(hello)
	}
	if !isPlain(hello.ServerName) {
		return nil, fmt.Errorf("certificate of %.100q: %w", hello.ServerName, errName)
	}
	name := strings.ToLower(hello.ServerName)
	if !a.waiting.enter(name) {
		return nil, fmt.Errorf("certificate of %.100q: %w", name, errWaiting)
	}
	defer a.waiting.leave(name)
	if name == "" {
		name = a.defaultName
	}
	began := time.Now()
	if until := a.failures.until(name, began); !until.IsZero() {
		return nil, fmt.Errorf("certificate of %.100q: %w until %s: the log says why", name, errPaused, until.Format(time.TimeOnly))
	}
	cert, err := a.get(hello)
	if err == nil {
		a.failures.forget(name)
		return cert, nil
	}
	ctx := hello.Context()
	if ctx == nil { // of a test
		ctx = context.Background()
	}
	if a.known(context.WithoutCancel(ctx), name) == nil {
		a.failures.add(name, began, time.Now())
	}
	return nil, err
}

// mostWaiting is how many handshakes for one name may wait: strangers make as many as they like.
const mostWaiting = 1000

var (
	errWaiting = errors.New("too many handshakes wait for it")
	errPaused  = errors.New("none came, and none is asked for")
	errName    = errors.New("that is no name in DNS: others than ASCII are sent in punycode")
)

// isPlain reports whether a name is sent as it is looked up (RFC 6066, 3): certmagic takes spaces off and maps other
// characters to those of names, and one name could be waited for under many.
func isPlain(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' })
}

// waiting counts handshakes by their names. The zero value is ready for use; its methods may be called concurrently.
type waiting struct {
	mu    sync.Mutex
	names map[string]int
}

// enter counts one; false when there are too many.
func (w *waiting) enter(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = make(map[string]int)
	}
	if w.names[name] >= mostWaiting {
		return false
	}
	w.names[name]++
	return true
}

func (w *waiting) leave(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names[name]--; w.names[name] == 0 {
		delete(w.names, name)
	}
}

// Protocols are what a listener must offer besides its own.
func (a *ACME) Protocols() []string { return []string{acmeProtocol} }

// AnswerChallenge answers an authority that asks over HTTP whether a name is ours (RFC 8555, 8.3), and reports whether it has.
func (a *ACME) AnswerChallenge(w http.ResponseWriter, r *http.Request) bool {
	return a.issuer.HandleHTTPChallenge(w, r)
}

// Stop ends renewals.
func (a *ACME) Stop() { a.cache.Stop() }

// ReadRoots reads certificates in PEM from a file.
func ReadRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read root certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read root certificates: %s holds none in PEM", path)
	}
	return pool, nil
}
