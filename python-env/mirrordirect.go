package pythonenv

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxGitRequest bounds what git sends to a repository: what it wants and has.
const maxGitRequest = 16 << 20

// gitHeaders are those of git's protocol over HTTP (gitprotocol-http(5)), besides passedOn.
var gitHeaders = []string{"Content-Type", "Content-Encoding", "Git-Protocol"}

// serveDirect answers for what requirements name by address: wheels ("/d/...") and git repositories ("/g/..."), of which it
// allows what reads, with the operator's credentials where there are any. It reports whether the request was one of these.
func (m *mirror) serveDirect(w http.ResponseWriter, r *http.Request) bool {
	prefix, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	kind := map[string]string{"d": directURL, "g": directGit}[prefix]
	if kind == "" {
		return false
	}
	target, err := m.up.directTarget(prefix, rest, r)
	if err != nil {
		m.say(fmt.Sprintf("refused: %s %s", r.Method, quoted(r.URL.EscapedPath())))
		http.Error(w, "not an address that the requirements name", http.StatusForbidden)
		return true
	}
	if target.Scheme == "ssh" {
		m.overSSH(w, r, target)
		return true
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target.String(), nil)
	if err != nil {
		http.Error(w, "not an address", http.StatusForbidden)
		return true
	}
	headers := passedOn
	if kind == directGit {
		headers = append(headers[:len(headers):len(headers)], gitHeaders...)
		if r.Method == http.MethodPost {
			out.Body, out.ContentLength = http.MaxBytesReader(w, r.Body, maxGitRequest), r.ContentLength
		}
	}
	for _, name := range headers {
		if v := r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	out.Header.Set("User-Agent", "git/2 apibuilder") // some hosts answer nobody else
	out.Header.Set("Accept-Encoding", "identity")
	if kind == directGit {
		m.up.authorizeGit(out)
	}
	response, err := m.up.direct[kind].Do(out)
	if err != nil {
		m.say(m.failure(target, err))
		http.Error(w, "the host does not answer", http.StatusBadGateway)
		return true
	}
	defer response.Body.Close()
	m.body(w, response)
	return true
}

// directTarget is what a path stands for, if it is signed and the request only reads.
func (u *upstream) directTarget(prefix, rest string, r *http.Request) (*url.URL, error) {
	id, rest, _ := strings.Cut(rest, "/")
	scheme, rest, _ := strings.Cut(rest, "/")
	host, rest, _ := strings.Cut(rest, "/")
	address, query := scheme+"://"+realHost(host)+"/"+rest, ""
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	signed := address
	if prefix == "g" {
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(address, "/info/refs") && r.URL.RawQuery == "service=git-upload-pack":
			signed, query = strings.TrimSuffix(address, "/info/refs"), r.URL.RawQuery
		case r.Method == http.MethodPost && strings.HasSuffix(address, "/git-upload-pack") && r.URL.RawQuery == "":
			signed, reads = strings.TrimSuffix(address, "/git-upload-pack"), true
		default:
			return nil, errForbidden
		}
	} else if r.URL.RawQuery != "" {
		return nil, errForbidden
	}
	if !reads || !hmac.Equal([]byte(u.sign(prefix+" "+signed)), []byte(id)) {
		return nil, errForbidden
	}
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	target.RawQuery = query
	if target.Scheme == "ssh" { // signed as it is, and fetched in another way
		return target, nil
	}
	return target, u.check(target)
}
