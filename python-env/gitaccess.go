package pythonenv

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ParseGitCredentials reads addresses apart by white space, each with a user name and a password or token:
// "https://deploy:TOKEN@git.example.com/team" is for every repository below that path, and one without a path for the whole host.
// Its errors say which one is wrong by its number and show nothing of it.
func ParseGitCredentials(text string) ([]*url.URL, error) {
	var all []*url.URL
	for i, word := range strings.Fields(text) {
		u, err := url.Parse(word)
		bad := func(what string) ([]*url.URL, error) {
			return nil, fmt.Errorf("number %d of the credentials of repositories %s: write https://USER:TOKEN@HOST or https://USER:TOKEN@HOST/PATH", i+1, what)
		}
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || !allowedHost.MatchString(u.Host):
			return bad("is no address")
		case u.User == nil || u.User.Username() == "":
			return bad("has no user name")
		case u.RawQuery != "" || u.Fragment != "" || hasDots(u.Path):
			return bad("has more than a path behind its host")
		}
		if _, has := u.User.Password(); !has {
			return bad("has no password or token")
		}
		u.Host, u.Path, u.RawPath = strings.ToLower(u.Host), strings.TrimSuffix(u.Path, "/"), ""
		all = append(all, u)
	}
	// The closest comes first.
	slices.SortStableFunc(all, func(a, b *url.URL) int { return len(b.Path) - len(a.Path) })
	return all, nil
}

// authorizeGit gives a request for a repository the operator's credentials for it, and takes those of another place off: Go's client
// takes a header along to where it is redirected.
func (u *upstream) authorizeGit(r *http.Request) {
	r.Header.Del("Authorization")
	for _, c := range u.git {
		if c.Scheme != r.URL.Scheme || hostPort(c) != hostPort(r.URL) || hasDots(r.URL.Path) {
			continue
		}
		if c.Path == "" || strings.HasPrefix(r.URL.Path, c.Path+"/") || strings.HasPrefix(r.URL.Path, c.Path+".git/") {
			password, _ := c.User.Password()
			r.SetBasicAuth(c.User.Username(), password)
			return
		}
	}
}
