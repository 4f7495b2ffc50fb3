package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// newPair makes a self-signed certificate for a name that is valid for a day around now.
func newPair(t *testing.T, name string, now time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-12 * time.Hour), NotAfter: now.Add(12 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func nameOf(t *testing.T, f *Files) string {
	t.Helper()
	cert, err := f.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.Subject.CommonName
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		cert, key := newPair(t, "first", time.Now())
		write(t, certPath, cert)
		write(t, keyPath, key)
		f, err := Open(certPath, keyPath, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		if name := nameOf(t, f); name != "first" {
			t.Fatalf("certificate of %s", name)
		}
		cert, key = newPair(t, "a longer second name", time.Now())
		write(t, certPath, cert)
		for range 3 { // its key is still the first's
			time.Sleep(lookEvery)
			if name := nameOf(t, f); name != "first" {
				t.Fatalf("certificate of %s", name)
			}
		}
		if logged.FilterLevelExact(zap.ErrorLevel).Len() != 1 {
			t.Errorf("logged %v", logged.All())
		}
		write(t, keyPath, key)
		time.Sleep(lookEvery)
		if name := nameOf(t, f); name != "a longer second name" {
			t.Errorf("certificate of %s", name)
		}
		_ = os.Remove(keyPath)
		time.Sleep(lookEvery)
		if name := nameOf(t, f); name != "a longer second name" {
			t.Errorf("without its key: certificate of %s", name)
		}
	})
}

// TestAClockThatIsSetBackHidesNoCertificate: the files were looked at last in what is the future now.
func TestAClockThatIsSetBackHidesNoCertificate(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func(name string) {
		cert, key := newPair(t, name, time.Now())
		write(t, certPath, cert)
		write(t, keyPath, key)
	}
	put("first")
	f, err := Open(certPath, keyPath, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	f.looked.Store(time.Now().Add(2 * time.Hour).UnixNano())
	put("the second")
	if name := nameOf(t, f); name != "the second" {
		t.Errorf("certificate of %s", name)
	}
}

// TestALinkThatLeadsToOthersIsNoticed: in packages and images all files have one time, and certificates of one authority often one size.
func TestALinkThatLeadsToOthersIsNoticed(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "live")
	put := func(name string) {
		t.Helper()
		cert, key := newPair(t, name, time.Now())
		to := filepath.Join(dir, name)
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string][]byte{"cert.pem": append(cert, make([]byte, 4096-len(cert))...), "key.pem": key} {
			write(t, filepath.Join(to, file), text)
			if err := os.Chtimes(filepath.Join(to, file), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(name, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	f, err := Open(filepath.Join(link, "cert.pem"), filepath.Join(link, "key.pem"), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	put("second")
	f.looked.Store(0)
	if name := nameOf(t, f); name != "second" {
		t.Errorf("certificate of %s", name)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := func(name string, text []byte) string {
		p := filepath.Join(dir, name)
		write(t, p, text)
		return p
	}
	cert, key := newPair(t, "a", time.Now())
	_, otherKey := newPair(t, "b", time.Now())
	oldCert, oldKey := newPair(t, "c", time.Now().Add(-24*time.Hour))
	newCert, newKey := newPair(t, "d", time.Now().Add(24*time.Hour))
	good, goodKey := path("cert", cert), path("key", key)
	for name, c := range map[string]struct{ cert, key, want string }{
		"no file":     {filepath.Join(dir, "none"), goodKey, "none: no such file"},
		"no key file": {good, filepath.Join(dir, "none"), "none: no such file"},
		"another key": {good, path("other", otherKey), "does not match"},
		"swapped":     {goodKey, good, goodKey},
		"no PEM":      {path("text", []byte("hello")), goodKey, filepath.Join(dir, "text")},
		"expired":     {path("old", oldCert), path("oldkey", oldKey), "expired"},
		"too early":   {path("new", newCert), path("newkey", newKey), "clock"},
	} {
		_, err := Open(c.cert, c.key, zap.NewNop())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigIsModern(t *testing.T) {
	cert, key := newPair(t, "a", time.Now())
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := Config(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil })
	for name, c := range map[string]struct {
		client *tls.Config
		ok     bool
	}{
		"1.3":            {&tls.Config{}, true},
		"1.2":            {&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"1.1":            {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"1.2 with a CBC": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
	} {
		a, b := net.Pipe()
		c.client.InsecureSkipVerify = true
		done := make(chan error, 1)
		go func() {
			done <- tls.Server(a, server).Handshake()
			_ = a.Close()
		}()
		err := tls.Client(b, c.client).Handshake()
		_ = b.Close()
		if serverErr := <-done; (err == nil && serverErr == nil) != c.ok {
			t.Errorf("%s: %v, %v", name, err, serverErr)
		}
	}
}
