package cli

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strings"

	"apibuilder/certificate"
	"apibuilder/gateway"
	"apibuilder/store"
)

// edgeSettings are those of serve about what stands between consumers and the gateway.
var edgeSettings = []setting{
	{flag: "trusted-proxies", serve: true, usage: "`ADDRESSES` and CIDR ranges of proxies, apart by commas, that are believed about consumers"},
	{flag: "proxy-headers", serve: true, value: "x-forwarded", usage: "`KIND` of fields that the trusted proxies write: x-forwarded or forwarded"},
	{flag: "proxy-protocol", serve: true, toggle: true, usage: "the trusted proxies begin each connection with the PROXY protocol"},
	{flag: "listen-tls", serve: true, usage: "`ADDRESS` for consumers with TLS; none if empty"},
	{flag: "listen-redirect", serve: true, usage: "`ADDRESS` whose consumers are sent to the one with TLS; none if empty"},
	{flag: "tls-cert", serve: true, usage: "`FILE` with the certificate and its chain, PEM; read again when it changes"},
	{flag: "apps-domain", serve: true, usage: "`DOMAIN` below which each API answers by its name: apps.example.com; none if empty"},
	{flag: "mapped-hosts", serve: true, usage: "host `NAMES` and *.names, apart by commas, that APIs may have by their option host; api.customer.com=anna for those of one user"},
	{flag: "acme-email", serve: true, usage: "`ADDRESS` of an ACME account: certificates are obtained for the names of APIs; agrees to the authority's terms"},
	{flag: "acme-directory", serve: true, value: certificate.LetsEncrypt, usage: "`URL` of the ACME authority's directory"},
	{flag: "acme-roots", serve: true, usage: "`FILE` with the certificates that vouch for the directory's own, PEM; the system's if empty"},
	{flag: "tls-key", serve: true, usage: "`FILE` with the certificate's key, PEM"},
}

// edgeOptions are edgeSettings, read.
type edgeOptions struct {
	trusted       gateway.Proxies
	readForwarded bool
	proxyProtocol bool

	appsDomain  string
	mappedHosts gateway.Hosts
	publicHost  string // of --public-url

	listenTLS      string
	listenRedirect string
	acmeEmail      string
	acmeDirectory  string
	acmeRoots      string
	certFile       string
	keyFile        string
}

func readEdgeOptions(s settings) (o edgeOptions, err error) {
	if o.trusted, err = parse(s, "trusted-proxies", gateway.ParseProxies); err != nil {
		return o, err
	}
	if o.readForwarded, err = parse(s, "proxy-headers", parseProxyHeaders); err != nil {
		return o, err
	}
	if o.proxyProtocol, err = parse(s, "proxy-protocol", parseToggle); err != nil {
		return o, err
	}
	if o.proxyProtocol && len(o.trusted) == 0 {
		return o, usagef("--proxy-protocol is for trusted proxies, and there are none: name them with --trusted-proxies")
	}
	if err := o.readHosts(s); err != nil {
		return o, err
	}
	o.listenTLS, o.listenRedirect = s.text("listen-tls"), s.text("listen-redirect")
	o.certFile, o.keyFile = s.text("tls-cert"), s.text("tls-key")
	o.acmeRoots = s.text("acme-roots")
	if o.acmeEmail, err = parse(s, "acme-email", parseEmail); err != nil {
		return o, err
	}
	if o.acmeDirectory, err = parse(s, "acme-directory", parseDirectory); err != nil {
		return o, err
	}
	return o, o.checkTLS()
}

func (o *edgeOptions) readHosts(s settings) (err error) {
	if o.appsDomain, err = parse(s, "apps-domain", gateway.ParseDomain); err != nil {
		return err
	}
	if o.mappedHosts, err = parse(s, "mapped-hosts", gateway.ParseHosts); err != nil {
		return err
	}
	public, err := parse(s, "public-url", url.Parse)
	if err != nil || public == nil {
		return err
	}
	if o.publicHost = strings.ToLower(public.Hostname()); net.ParseIP(o.publicHost) != nil {
		o.publicHost = "" // no API has it, and no certificate
	}
	if o.isOfApps(o.publicHost) {
		return usagef("--public-url is below --apps-domain %s, where only APIs are: choose another name for the server", o.appsDomain)
	}
	return nil
}

func (o *edgeOptions) isOfApps(host string) bool {
	return o.appsDomain != "" && strings.HasSuffix(host, "."+o.appsDomain)
}

// mayMap reports whether the operator lets an API have a host name.
func (o *edgeOptions) mayMap(host string) bool {
	return o.mappedHosts.Has(host) && host != o.publicHost && !o.isOfApps(host)
}

// mayTake reports whether somebody may give an API a host name; the zero user is an operator.
func (o *edgeOptions) mayTake(host string, by store.User) bool {
	owner, _ := o.mappedHosts.Owner(host)
	return o.mayMap(host) && (by == store.User{} || owner == "" || owner == by.ID || owner == by.Name)
}

// checkTLS tells of settings for TLS that need others.
func (o edgeOptions) checkTLS() error {
	switch {
	case o.certFile != "" && o.keyFile == "":
		return usagef("--tls-cert is of no use without its key: name that with --tls-key")
	case o.certFile == "" && o.keyFile != "":
		return usagef("--tls-key is of no use without its certificate: name that with --tls-cert")
	case o.acmeEmail != "" && o.certFile != "":
		return usagef("--acme-email and --tls-cert exclude each other: certificates are obtained, or they are in files")
	case o.acmeEmail != "" && o.listenTLS == "":
		return usagef("--acme-email is of no use without an address for TLS: give one with --listen-tls, reached at port 443")
	case o.listenTLS == "" && o.certFile != "":
		return usagef("--tls-cert is of no use without an address for TLS: give one with --listen-tls")
	case o.listenTLS == "" && o.listenRedirect != "":
		return usagef("--listen-redirect has nowhere to send consumers: give an address for TLS with --listen-tls")
	case o.listenTLS != "" && o.certFile == "" && o.acmeEmail == "":
		return usagef("--listen-tls needs a certificate: name one with --tls-cert and --tls-key, or have them obtained with --acme-email")
	}
	return nil
}

func parseEmail(text string) (string, error) {
	if addr, err := mail.ParseAddress(text); err != nil || addr.Address != text {
		return "", fmt.Errorf("%q is no mail address: write for example operator@example.com", text)
	}
	return text, nil
}

func parseDirectory(text string) (string, error) {
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is no address of a directory: write for example %s", text, certificate.LetsEncrypt)
	}
	return text, nil
}

// parseProxyHeaders reports whether it is the field Forwarded.
func parseProxyHeaders(text string) (bool, error) {
	switch text {
	case "forwarded":
		return true, nil
	case "x-forwarded":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither x-forwarded nor forwarded", text)
}
