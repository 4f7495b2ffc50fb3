package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"apibuilder/store"
)

// Hosts are names that may be mapped to APIs: each as it is, or all below one as *.example.com. The zero value is none. It
// may be used concurrently.
type Hosts struct {
	names, suffixes map[string]string // whose each is, empty: anybody's; suffixes with the dot
}

// ParseHosts reads names and *.names apart by commas, each with = and a user's name or id behind it where it is for that user's APIs. The error
// names the one that is wrong.
func ParseHosts(text string) (Hosts, error) {
	h := Hosts{names: map[string]string{}, suffixes: map[string]string{}}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		part, user, owned := strings.Cut(part, "=")
		below, wild := strings.CutPrefix(strings.TrimSpace(part), "*.")
		name, err := ParseDomain(below)
		user = strings.TrimSpace(user)
		at, key := h.names, name
		if wild {
			at, key = h.suffixes, "."+name
		}
		other, twice := at[key]
		switch {
		case err != nil:
			return Hosts{}, err
		case twice && other != user:
			return Hosts{}, fmt.Errorf("%q is listed twice, for different users: leave one out", strings.TrimSpace(part))
		case owned && (user == "" || strings.ContainsAny(user, "= ")):
			return Hosts{}, fmt.Errorf("%q says whose it is without a user: write for example api.example.com=anna", part)
		}
		at[key] = user
	}
	return h, nil
}

// ParseDomain reads a name in DNS of two labels or more, and returns it in lower case.
func ParseDomain(text string) (string, error) {
	name, ok := hostnameOf(text)
	_, err := netip.ParseAddr(name)
	if !ok || err == nil || !strings.Contains(name, ".") || strings.ContainsAny(text, ":~_") {
		return "", fmt.Errorf("%q is no domain name: write for example apps.example.com", text)
	}
	return name, nil
}

// Has reports whether a name, in lower case, is one of them.
func (h Hosts) Has(name string) bool {
	_, listed := h.Owner(name)
	return listed
}

// Owner is whose a name, in lower case, is: a user's name or id, empty for anybody's. What names it most closely says so.
func (h Hosts) Owner(name string) (user string, listed bool) {
	if user, listed = h.names[name]; listed {
		return user, true
	}
	for at := 1; at < len(name); at++ { // the longest first
		if name[at] != '.' {
			continue
		}
		if user, listed = h.suffixes[name[at:]]; listed {
			return user, true
		}
	}
	return "", false
}

func (h Hosts) empty() bool { return len(h.names) == 0 && len(h.suffixes) == 0 }

// ownAddress is what a host name is to the gateway.
type ownAddress struct {
	ref string // of the API at it; empty: there is none
	own bool   // it is for an API alone: nothing of the gateway's answers there
	sub bool   // it is below the domain that APIs share
}

// address finds out what a host name, in lower case, is for. Errors: errStore, the context's.
func (g *Gateway) address(ctx context.Context, name string) (ownAddress, error) {
	if label, ok := strings.CutSuffix(name, g.appsSuffix); ok && g.appsSuffix != "" {
		if store.ValidName(label) != nil {
			label = ""
		}
		return ownAddress{ref: label, own: true, sub: true}, nil
	}
	if g.mapped == nil || name == g.config.PublicHost || !g.config.MappedHosts.Has(name) {
		return ownAddress{}, nil
	}
	id, err := g.mapped.find(ctx, name)
	return ownAddress{ref: id, own: true}, err
}

// KnowsHost returns nil for a host name, in lower case, at which an API answers now, and for PublicHost; else an error that
// says that nothing does, or that the store cannot tell. It may be called concurrently.
func (g *Gateway) KnowsHost(ctx context.Context, name string) error {
	if name != "" && name == g.config.PublicHost {
		return nil
	}
	at, err := g.address(ctx, name)
	if err == nil && at.ref != "" {
		_, err = g.directory.api(ctx, at.ref)
	} else if err == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("find the API at host %.100q: %w", name, err)
	}
	return nil
}

// answerOwn answers a request to the address of an API of its own, and reports whether it is one. What is there is the
// program's, whatever its path: /healthz and /run/ too.
func (g *Gateway) answerOwn(a *answer) bool {
	r := a.request
	name := a.from.name
	at, err := g.address(r.Context(), name)
	rest := originForm(r.RequestURI)
	switch {
	case err != nil:
		a.fail(err)
	case !at.own:
		return false
	case at.ref == "" || rest == "":
		a.problem(wordNotFound)
	default:
		a.from.prefix, a.from.sub = "/", at.sub
		g.serveAPI(a, r, at.ref, rest)
	}
	return true
}
