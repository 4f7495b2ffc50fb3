package toolchain

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// defaultIndex is the public index that pip and uv use when nothing is configured.
const defaultIndex = "https://pypi.org/simple"

// Index says where this machine gets Python packages from. URL may hold credentials: print the Index, never its URL.
type Index struct {
	URL       string   // of the simple repository API (PEP 503), never empty, without a trailing slash
	CertFile  string   // bundle of certificate authorities in PEM to trust besides the system's; empty: the system's
	Extra     []string // further indexes, asked before it; may hold credentials
	FindLinks []string // further places to look for packages: directories and URLs
}

// String is the index's address without credentials.
func (i Index) String() string {
	u, err := url.Parse(i.URL)
	if err != nil {
		return "the configured package index"
	}
	return bare(u)
}

// ConfiguredIndex reads what the operator configured for uv or pip. The address comes from UV_DEFAULT_INDEX,
// UV_INDEX_URL, PIP_INDEX_URL or the index-url of pip's configuration files, else it is the public index. The CA bundle
// comes from SSL_CERT_FILE, PIP_CERT, REQUESTS_CA_BUNDLE or pip's cert; find-links from UV_FIND_LINKS, PIP_FIND_LINKS or
// pip's find-links. Errors name the setting and never show its credentials.
func ConfiguredIndex() (Index, error) {
	pip, err := readPipConfig()
	if err != nil {
		return Index{}, err
	}
	address, source := firstSet("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
	if address == "" {
		address, source = pip["index-url"], "index-url in pip's configuration"
	}
	if address == "" {
		address, source = defaultIndex, "the default index"
	}
	address, err = indexAddress(address, source)
	if err != nil {
		return Index{}, err
	}
	cert, _ := firstSet("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
	if cert == "" {
		cert = pip["cert"]
	}
	extra, err := extraIndexes(pip)
	if err != nil {
		return Index{}, err
	}
	return Index{URL: address, Extra: extra, CertFile: cert, FindLinks: findLinks(pip)}, nil
}

// indexAddress checks an address. uv allows "name=address" where it takes one.
func indexAddress(address, source string) (string, error) {
	if name, rest, ok := strings.Cut(address, "="); ok && !strings.ContainsAny(name, ":/") {
		address = rest
	}
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%s is not the address of a package index: it must start with https:// or http://", source)
	}
	return u.String(), nil
}

// extraIndexes come from UV_INDEX, UV_EXTRA_INDEX_URL, PIP_EXTRA_INDEX_URL or pip's extra-index-url.
func extraIndexes(pip map[string]string) ([]string, error) {
	text, source := firstSet("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
	if text == "" {
		text, source = pip["extra-index-url"], "extra-index-url in pip's configuration"
	}
	var all []string
	for _, address := range strings.Fields(text) {
		address, err := indexAddress(address, source)
		if err != nil {
			return nil, err
		}
		all = append(all, address)
	}
	return all, nil
}

func findLinks(pip map[string]string) []string {
	if s := os.Getenv("UV_FIND_LINKS"); s != "" {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	}
	if s := os.Getenv("PIP_FIND_LINKS"); s != "" {
		return strings.Fields(s)
	}
	return strings.Fields(pip["find-links"])
}

// firstSet returns the first of the environment variables that is not empty, and its name.
func firstSet(names ...string) (value, name string) {
	for _, name := range names {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v, name
		}
	}
	return "", ""
}

// bare is u without what may be secret: user, query and fragment.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// pipConfigFiles lists pip's configuration files from the weakest to the strongest, see "pip config" in pip's manual.
func pipConfigFiles() []string {
	own := os.Getenv("PIP_CONFIG_FILE")
	if own == os.DevNull {
		return nil
	}
	xdg := os.Getenv("XDG_CONFIG_DIRS")
	if xdg == "" {
		xdg = "/etc/xdg"
	}
	var files []string
	for _, dir := range filepath.SplitList(xdg) {
		files = append(files, filepath.Join(dir, "pip", "pip.conf"))
	}
	files = append(files, "/etc/pip.conf")
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".pip", "pip.conf"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "pip", "pip.conf"))
	}
	if own != "" {
		files = append(files, own)
	}
	return files
}
