package cli

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"strconv"
	"text/template"
)

//go:embed install/apibuilder.service
var serviceUnit string

//go:embed install/apibuilder.socket
var socketUnit string

// place is where an installation is.
type place struct{ binary, units string }

var (
	// installedPlace is that of `apibuilder install`. Nothing of a distribution's own packages is touched there.
	installedPlace = place{"/usr/local/bin/apibuilder", "/etc/systemd/system"}
	// packagedPlace is that of a distribution's package.
	packagedPlace = place{"/usr/bin/apibuilder", "/usr/lib/systemd/system"}
)

const serviceName = "apibuilder.service"

// socket is a unit that holds one of the server's addresses, so that no consumer is refused while the server is restarted.
type socket struct {
	unit    string
	setting string // whose address it holds
	what    string
}

var allSockets = []socket{
	{"apibuilder.socket", "listen", "address for consumers"},
	{"apibuilder-tls.socket", "listen-tls", "address for consumers with TLS"},
	{"apibuilder-redirect.socket", "listen-redirect", "address that sends consumers to the one with TLS"},
}

// address is what the settings say; empty: there is no such socket.
func (s socket) address(o serveOptions) string {
	switch s.setting {
	case "listen-tls":
		return o.edge.listenTLS
	case "listen-redirect":
		return o.edge.listenRedirect
	}
	return o.listen
}

// sockets are those that the settings ask for, and those that they do not.
func sockets(o serveOptions) (wanted, unwanted []socket) {
	for _, s := range allSockets {
		if s.address(o) == "" {
			unwanted = append(unwanted, s)
		} else {
			wanted = append(wanted, s)
		}
	}
	return wanted, unwanted
}

// unitNames are the names of units.
func unitNames(sockets []socket) []string {
	var names []string
	for _, s := range sockets {
		names = append(names, s.unit)
	}
	return names
}

// installedFile is one that an installation consists of.
type installedFile struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// unitFiles are the units that serve with a configuration. Those of a package leave it to the administrator to have sockets.
func (i installation) unitFiles(o serveOptions) ([]installedFile, error) {
	wanted, _ := sockets(o)
	files := []installedFile{{path.Join(i.units, serviceName), fill(serviceUnit, map[string]any{
		"Packaged": i.packaged, "Binary": i.binary, "Config": i.config, "DataDir": o.dataDir, "Sockets": unitNames(wanted),
	}), 0o644}}
	for _, s := range wanted {
		address, err := socketAddress(s.address(o))
		if err != nil {
			return nil, err
		}
		files = append(files, installedFile{path.Join(i.units, s.unit), fill(socketUnit, map[string]any{
			"Packaged": i.packaged, "Listen": address, "Setting": s.setting, "What": s.what,
		}), 0o644})
	}
	return files, nil
}

// socketAddress is an address as systemd.socket(5) takes it; an empty host means all of this machine's.
func socketAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("read port %q: %w", port, err)
	}
	if host == "" {
		return port, nil
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(address.String(), port), nil
}

func fill(text string, values map[string]any) []byte {
	var b bytes.Buffer
	template.Must(template.New("unit").Parse(text)).Execute(&b, values) //nolint:errcheck // a map of texts into memory
	return b.Bytes()
}

// exists reports whether there is a file of this name below the installation's root.
func (i installation) exists(name string) bool {
	_, err := os.Stat(i.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}
