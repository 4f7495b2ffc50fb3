package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"go.uber.org/zap"
)

// authority is an ACME server that finds every name on this machine.
type authority struct {
	url    string
	own    *x509.CertPool // of its HTTPS
	issued *x509.CertPool // of what it issues
}

func newAuthority(t *testing.T, plain, secure net.Addr) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	logger := log.New(io.Discard, "", 0)
	memory := db.NewMemoryStore()
	issuer := ca.New(logger, memory, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	validator := va.New(logger, portOf(plain), portOf(secure), false, resolver(t), memory)
	front := wfe.New(logger, memory, validator, issuer, []string{"pebble.letsencrypt.org"}, false, false, 1, 1)
	s := httptest.NewTLSServer(front.Handler())
	t.Cleanup(s.Close)
	a := &authority{url: s.URL + wfe.DirectoryPath, own: x509.NewCertPool(), issued: x509.NewCertPool()}
	a.own.AddCert(s.Certificate())
	a.issued.AddCert(issuer.GetRootCert(0).Cert)
	return a
}

func portOf(addr net.Addr) int {
	if addr == nil {
		return 1 // where nobody is
	}
	return addr.(*net.TCPAddr).Port
}

// resolver answers that every name is this machine, and returns its address.
func resolver(t *testing.T) string {
	t.Helper()
	l := listen(t) // the authority asks over TCP
	started := make(chan struct{})
	s := &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			}}
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return l.Addr().String()
}

// site serves with an ACME's certificates, and answers challenges without TLS.
type site struct {
	acme          *ACME
	secure, plain net.Addr
	asked         *names
}

// names are those that somebody asked for.
type names struct {
	mu  sync.Mutex
	all []string
}

func (n *names) known(_ context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, name)
	if name == "hello.apps.test" {
		return nil
	}
	return errors.New("no API is there")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serveHTTP(t *testing.T, l net.Listener, h http.HandlerFunc) {
	t.Helper()
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
}

// newSite returns a site whose authority may look at it over HTTP or over TLS alone.
func newSite(t *testing.T, storage string, overHTTP bool) (*site, *authority) {
	t.Helper()
	secure, plain := listen(t), listen(t)
	s := &site{secure: secure.Addr(), plain: plain.Addr(), asked: &names{}}
	a := newAuthority(t, nil, s.secure)
	config := ACMEConfig{Email: "operator@example.com", Storage: storage, Known: s.asked.known, TLS: s.secure, Log: zap.NewNop()}
	if overHTTP {
		a = newAuthority(t, s.plain, nil)
		config.Plain = s.plain
	}
	config.Directory, config.Roots = a.url, a.own
	s.acme = NewACME(config)
	t.Cleanup(s.acme.Stop)
	security := Config(s.acme.Certificate)
	security.NextProtos = append([]string{"http/1.1"}, s.acme.Protocols()...)
	serveHTTP(t, tls.NewListener(secure, security), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	serveHTTP(t, plain, func(w http.ResponseWriter, r *http.Request) {
		if !s.acme.AnswerChallenge(w, r) {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	return s, a
}

// get returns the serial number of the certificate that the site has for a name.
func (s *site) get(name string, roots *x509.CertPool) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots}}
	conn, err := dialer.DialContext(ctx, "tcp", s.secure.String())
	if err != nil {
		return "", err
	}
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), conn.Close()
}

func TestACME(t *testing.T) {
	for name, overHTTP := range map[string]bool{"TLS-ALPN-01": false, "HTTP-01": true} {
		t.Run(name, func(t *testing.T) {
			storage := filepath.Join(t.TempDir(), "certificates")
			s, a := newSite(t, storage, overHTTP)
			serial, err := s.get("hello.apps.test", a.issued)
			if err != nil {
				t.Fatal(err)
			}
			for _, unknown := range []string{"nobody.apps.test", "127.0.0.1", ""} {
				if _, err := s.get(unknown, a.issued); err == nil {
					t.Errorf("a certificate for %q", unknown)
				}
			}
			if asked := strings.Join(s.asked.all, " "); !strings.Contains(asked, "nobody.apps.test") {
				t.Errorf("asked for %s", asked)
			}
			checkModes(t, storage)

			again, _ := newSite(t, storage, overHTTP)
			again.acme.config.Issuers = s.acme.config.Issuers // files are kept by authority
			if same, err := again.get("hello.apps.test", a.issued); err != nil || same != serial {
				t.Errorf("after a start: %s, not %s: %v", same, serial, err)
			}
		})
	}
}

// checkModes shows that nobody but the owner reads keys.
func checkModes(t *testing.T, storage string) {
	t.Helper()
	keys := 0
	err := filepath.Walk(storage, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasSuffix(path, ".key") {
			keys++
		}
		return err
	})
	if err != nil || keys == 0 {
		t.Errorf("%d keys, %v", keys, err)
	}
}

func TestReadRoots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "roots")
	if _, err := ReadRoots(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	write(t, path, []byte("hello"))
	if _, err := ReadRoots(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no PEM: %v", err)
	}
}
