package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"apibuilder/certificate"
	"apibuilder/gateway"
	"apibuilder/store"
)

// edge are the listeners for consumers besides the one without TLS; each may be nil.
type edge struct {
	secure   net.Listener
	redirect net.Listener
	tls      *tls.Config
	first    func(http.ResponseWriter, *http.Request) bool // asked before the redirect; may be nil
	knows    func(context.Context, string) error           // the gateway's, once there is one
}

// openEdge reads the certificate and takes the addresses, so that what is wrong with them is told early.
func (s *server) openEdge(ctx context.Context) (err error) {
	o := s.options.edge
	if o.certFile != "" {
		files, err := certificate.Open(o.certFile, o.keyFile, s.log.Named("tls"))
		if err != nil {
			return err
		}
		s.edge.tls = certificate.Config(files.Certificate)
	}
	var roots *x509.CertPool
	if o.acmeRoots != "" {
		if roots, err = certificate.ReadRoots(o.acmeRoots); err != nil {
			return err
		}
	}
	if s.edge.secure, err = s.listenEdge(ctx, "listen-tls", o.listenTLS); err != nil {
		return err
	}
	if s.edge.redirect, err = s.listenEdge(ctx, "listen-redirect", o.listenRedirect); err != nil {
		return err
	}
	if o.acmeEmail != "" {
		s.openACME(roots)
	}
	return nil
}

// openACME has certificates obtained for the names that the gateway knows.
func (s *server) openACME(roots *x509.CertPool) {
	o := s.options.edge
	c := certificate.ACMEConfig{
		Email: o.acmeEmail, Directory: o.acmeDirectory, Storage: s.data.join("certificates"), Roots: roots,
		Known:       func(ctx context.Context, name string) error { return s.edge.knows(ctx, name) },
		DefaultName: o.publicHost, TLS: s.edge.secure.Addr(), Log: s.log.Named("acme"),
	}
	if s.edge.redirect != nil {
		c.Plain = s.edge.redirect.Addr()
	}
	acme := certificate.NewACME(c)
	s.onStop("certificates", func(context.Context) error {
		acme.Stop()
		return nil
	})
	s.edge.tls, s.edge.first = certificate.Config(acme.Certificate), acme.AnswerChallenge
	s.edge.tls.NextProtos = acme.Protocols()
}

func (s *server) listenEdge(ctx context.Context, flag, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := s.listen(ctx, flag, address)
	if err != nil {
		return nil, err
	}
	s.onStop(flag, closer(l))
	return l, nil
}

// serveEdge serves what openEdge has opened; the channels are closed when that has ended.
func (s *server) serveEdge(g *gateway.Gateway) (done []chan struct{}) {
	s.edge.knows = g.KnowsHost
	if s.edge.secure != nil {
		done = append(done, s.run("gateway with TLS", func() error { return g.Serve(s.edge.secure, s.edge.tls) }))
	}
	if s.edge.redirect != nil {
		port := s.securePort()
		done = append(done, s.run("redirect", func() error { return g.ServeRedirect(s.edge.redirect, port, s.edge.first) }))
	}
	return done
}

// addresses are an API's own: below the domain of APIs, and the one that it is mapped to.
func (s *server) addresses(a store.API) []string {
	scheme, port := "http", s.listener.Addr().(*net.TCPAddr).Port
	if s.edge.secure != nil {
		scheme, port = "https", s.securePort()
	}
	suffix := ":" + strconv.Itoa(port)
	if scheme == "http" && port == 80 || scheme == "https" && port == 443 {
		suffix = ""
	}
	var all []string
	if domain := s.options.edge.appsDomain; domain != "" {
		all = append(all, scheme+"://"+a.Name+"."+domain+suffix)
	}
	if host := a.Options.Host; host != "" && s.options.edge.mayMap(host) {
		all = append(all, scheme+"://"+host+suffix)
	}
	return all
}

// securePort is the port at which consumers reach the listener with TLS: that of the public URL, because there may be another
// one in front of this machine's.
func (s *server) securePort() int {
	if u, err := url.Parse(s.options.publicURL); err == nil && u.Scheme == "https" {
		if port, err := strconv.Atoi(u.Port()); err == nil {
			return port
		}
		return 443
	}
	if addr, ok := s.edge.secure.Addr().(*net.TCPAddr); ok {
		return addr.Port
	}
	return 443
}

func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
