package toolchain

import (
	"encoding/json"
	"fmt"
	"html"
	"mime"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// link is one file that a page of the simple repository API offers.
type link struct {
	name   string // file name
	url    *url.URL
	sha256 string // empty when the index gives none
}

// accept asks for JSON (PEP 691) and takes HTML (PEP 503).
const accept = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

// parsePage returns the links of a page. at is where the page came from: its links may be relative to that.
func parsePage(body []byte, contentType string, at *url.URL) ([]link, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("the index answered with the content type %q", contentType)
	}
	switch kind {
	case "application/vnd.pypi.simple.v1+json", "application/json":
		return parseJSON(body, at)
	case "application/vnd.pypi.simple.v1+html", "text/html":
		return parseHTML(string(body), at), nil
	}
	return nil, fmt.Errorf("the index answered with the content type %q", contentType)
}

func parseJSON(body []byte, at *url.URL) ([]link, error) {
	var page struct {
		Files []struct {
			Filename string            `json:"filename"`
			URL      string            `json:"url"`
			Hashes   map[string]string `json:"hashes"`
		} `json:"files"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("read the index's page: %w", err)
	}
	var links []link
	for _, f := range page.Files {
		if u, err := at.Parse(f.URL); err == nil {
			links = append(links, link{name: f.Filename, url: u, sha256: strings.ToLower(f.Hashes["sha256"])})
		}
	}
	return links, nil
}

const hrefValue = `\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))`

var (
	anchor = regexp.MustCompile(`(?is)<a` + hrefValue)
	base   = regexp.MustCompile(`(?is)<base` + hrefValue)
)

// parseHTML reads anchors; the file's name is the last part of its address, as for pip.
func parseHTML(body string, at *url.URL) []link {
	if m := base.FindStringSubmatch(body); m != nil {
		if u, err := at.Parse(href(m)); err == nil {
			at = u
		}
	}
	var links []link
	for _, m := range anchor.FindAllStringSubmatch(body, -1) {
		u, err := at.Parse(href(m))
		if err != nil {
			continue
		}
		sum, _ := strings.CutPrefix(u.Fragment, "sha256=")
		if sum == u.Fragment {
			sum = ""
		}
		u.Fragment, u.RawFragment = "", ""
		links = append(links, link{name: path.Base(u.Path), url: u, sha256: strings.ToLower(sum)})
	}
	return links
}

func href(match []string) string {
	return strings.TrimSpace(html.UnescapeString(match[1] + match[2] + match[3]))
}
