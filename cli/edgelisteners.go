package cli

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strconv"

	"apibuilder/certificate"
	"apibuilder/gateway"
)

// edge are the listeners for consumers besides the one without TLS; each may be nil.
type edge struct {
	secure   net.Listener
	redirect net.Listener
	tls      *tls.Config
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
	if s.edge.secure, err = s.listenEdge(ctx, "listen-tls", o.listenTLS); err != nil {
		return err
	}
	s.edge.redirect, err = s.listenEdge(ctx, "listen-redirect", o.listenRedirect)
	return err
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
	if s.edge.secure != nil {
		done = append(done, s.run("gateway with TLS", func() error { return g.Serve(s.edge.secure, s.edge.tls) }))
	}
	if s.edge.redirect != nil {
		port := s.securePort()
		done = append(done, s.run("redirect", func() error { return g.ServeRedirect(s.edge.redirect, port, nil) }))
	}
	return done
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
