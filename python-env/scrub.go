package pythonenv

import (
	"net/url"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// scrubber takes the operator's secrets and control characters out of what uv prints.
type scrubber struct{ secrets *strings.Replacer }

var userInfo = regexp.MustCompile(`://[^/@\s]+@`)

// proxyVariables say how this process reaches the index. Their values may hold credentials.
var proxyVariables = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
}

func newScrubber(cfg Config) scrubber {
	addresses := append(cfg.indexes(), cfg.FindLinks...)
	for _, name := range proxyVariables {
		addresses = append(addresses, os.Getenv(name))
	}
	for _, c := range cfg.GitCredentials {
		addresses = append(addresses, c.String())
	}
	var pairs []string
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.User == nil {
			continue
		}
		secret, isPassword := u.User.Password()
		if !isPassword {
			secret = u.User.Username() // a token may stand alone
		}
		_, encoded, _ := strings.Cut(u.User.String(), ":")
		for _, s := range []string{secret, encoded, u.User.String()} {
			if len(s) >= 4 { // a shorter one is a word like any other
				pairs = append(pairs, s, "****")
			}
		}
	}
	return scrubber{secrets: strings.NewReplacer(pairs...)}
}

func (s scrubber) line(text string) string {
	text = userInfo.ReplaceAllString(s.secrets.Replace(strings.ToValidUTF8(text, "?")), "://")
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
