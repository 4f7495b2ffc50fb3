// Package certificate has the certificates that consumers are met with over TLS: from two files that somebody else renews,
// or obtained and renewed by ACME for the names that are known here.
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Source finds the certificate for a handshake; it is called concurrently.
type Source func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Config is how a server speaks TLS to consumers: version 1.2 or later, and of 1.2 only what has forward secrecy and
// authenticates what it encrypts (RFC 9325, 4.2). The caller adds the protocols.
func Config(source Source) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are not chosen
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: source,
	}
}

// checkTime returns an error for a certificate that no client would take now.
func checkTime(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate has expired on %s: renew it", leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s: check this machine's clock", leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	return nil
}
