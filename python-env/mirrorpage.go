package pythonenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// rewritePage replaces the addresses of files in a page of the simple repository API (PEP 503, PEP 691). at is where the
// page came from: its links may be relative to that. What is not replaced leads nowhere, because a build has no network.
func rewritePage(page []byte, contentType string, at *url.URL, local func(*url.URL) string) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return page, nil //nolint:nilerr // uv's to refuse, which it does in words that are explained
	}
	switch kind {
	case "application/vnd.pypi.simple.v1+json", "application/json":
		return rewriteJSON(page, at, local)
	case "application/vnd.pypi.simple.v1+html", "text/html":
		return rewriteHTML(page, at, local), nil
	}
	return page, nil
}

func rewriteJSON(page []byte, at *url.URL, local func(*url.URL) string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(page, &all); err != nil {
		return nil, fmt.Errorf("read the index's page: %w", err)
	}
	var files []map[string]json.RawMessage
	if err := json.Unmarshal(all["files"], &files); all["files"] == nil || err != nil {
		return page, nil //nolint:nilerr // not a page of files
	}
	for _, file := range files {
		var address string
		if json.Unmarshal(file["url"], &address) != nil {
			continue
		}
		if target, err := at.Parse(address); err == nil {
			file["url"], _ = json.Marshal(local(target))
		}
	}
	text, err := json.Marshal(files)
	if err != nil {
		return nil, err
	}
	all["files"] = text
	return json.Marshal(all)
}

// rewriteHTML leaves everything as it is but the addresses of links and the base, which would apply to them.
func rewriteHTML(page []byte, at *url.URL, local func(*url.URL) string) []byte {
	var out bytes.Buffer
	z := html.NewTokenizer(bytes.NewReader(page))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return out.Bytes()
		}
		raw := bytes.Clone(z.Raw())
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			out.Write(raw)
			continue
		}
		token := z.Token()
		if token.Data != "a" && token.Data != "base" {
			out.Write(raw)
			continue
		}
		for i, attribute := range token.Attr {
			target, err := at.Parse(strings.TrimSpace(attribute.Val))
			if attribute.Key != "href" || err != nil {
				continue
			}
			if token.Data == "base" {
				at = target
				token.Attr[i].Val = mirrorURL
				continue
			}
			token.Attr[i].Val = local(target)
		}
		out.WriteString(token.String())
	}
}
