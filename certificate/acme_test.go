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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"apibuilder/internal/acmetest"
)

func portOf(addr net.Addr) int { return addr.(*net.TCPAddr).Port }

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
func newSite(t *testing.T, storage string, overHTTP bool) (*site, *acmetest.Authority) {
	t.Helper()
	secure, plain := listen(t), listen(t)
	s := &site{secure: secure.Addr(), plain: plain.Addr(), asked: &names{}}
	a := acmetest.New(t, 1, portOf(s.secure))
	config := ACMEConfig{Email: "operator@example.com", Storage: storage, Known: s.asked.known, TLS: s.secure, Log: zap.NewNop()}
	if overHTTP {
		a = acmetest.New(t, portOf(s.plain), 1)
		config.Plain = s.plain
	}
	config.Directory, config.Roots = a.URL, a.Own
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
			serial, err := s.get("hello.apps.test", a.Issued)
			if err != nil {
				t.Fatal(err)
			}
			for _, unknown := range []string{"nobody.apps.test", "127.0.0.1", ""} {
				if _, err := s.get(unknown, a.Issued); err == nil {
					t.Errorf("a certificate for %q", unknown)
				}
			}
			if asked := strings.Join(s.asked.all, " "); !strings.Contains(asked, "nobody.apps.test") {
				t.Errorf("asked for %s", asked)
			}
			checkModes(t, storage)

			again, _ := newSite(t, storage, overHTTP)
			again.acme.config.Issuers = s.acme.config.Issuers // files are kept by authority
			if same, err := again.get("hello.apps.test", a.Issued); err != nil || same != serial {
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

// Handshakes that wait for a certificate are bounded for each name, and those by which an authority looks at a name are not among them.
func TestHandshakesThatWait(t *testing.T) {
	release := make(chan struct{})
	a := NewACME(ACMEConfig{Storage: t.TempDir(), TLS: &net.TCPAddr{}, Log: zap.NewNop(), Known: func(_ context.Context, name string) error {
		if name == "slow.apps.test" {
			<-release
		}
		return errors.New("no API is there")
	}})
	defer a.Stop()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	ask := func(name string, protocols ...string) error {
		_, err := a.Certificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protocols, Conn: ours})
		return err
	}
	var waiting sync.WaitGroup
	for range mostWaiting {
		waiting.Go(func() { _ = ask("slow.apps.test", "h2") })
	}
	for a.waiting.count("slow.apps.test") < mostWaiting {
		time.Sleep(time.Millisecond)
	}
	one := make(chan error, 4)
	for _, c := range []struct {
		name, protocols string
		want            error
	}{
		{"SLOW.apps.test", "h2", errWaiting},
		{"slow.apps.test", "h2 " + acmeProtocol, errWaiting}, // no authority's: that offers one protocol
		{"slow.apps.test ", "h2", errName},                   // certmagic would look for the same name
		{"ｓlow.apps.test", "h2", errName},
	} {
		go func() { one <- ask(c.name, strings.Fields(c.protocols)...) }()
		select {
		case err := <-one:
			if !errors.Is(err, c.want) {
				t.Errorf("one more, %q with %s: %v", c.name, c.protocols, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("one more waits too, %q with %s", c.name, c.protocols)
		}
	}
	if err := ask("other.apps.test", "h2"); errors.Is(err, errWaiting) {
		t.Errorf("another name: %v", err)
	}
	if err := ask("slow.apps.test", acmeProtocol); err == nil || errors.Is(err, errWaiting) {
		t.Errorf("an authority's: %v", err)
	}
	close(release)
	waiting.Wait()
	if err := ask("slow.apps.test", "h2"); errors.Is(err, errWaiting) || len(a.waiting.names) > 0 {
		t.Errorf("afterwards: %v, waiting %v", err, a.waiting.names)
	}
}

func (w *waiting) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}
