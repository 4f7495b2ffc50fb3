package pythonenv

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Allow says what authors may require besides packages of the index. Its zero value allows nothing more.
type Allow struct {
	URLs    []string // hosts, or host:port, of wheels that are named by address; "*": every public host, by https
	Git     []string // the same of git repositories
	SSH     []string // the same of git repositories that are spoken to over ssh; never "*"
	Folders []string // absolute paths of folders of wheels that are named by path
	Sdists  bool     // a Request may name packages to be built from source
}

var allowedHost = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?$`)

// ParseAllow reads a list of kinds apart by commas: "url:files.example.com,git:github.com,ssh:git.example.com,path:/srv/wheels,sdist". "url" and
// "git" alone mean every public host.
func ParseAllow(text string) (Allow, error) {
	var a Allow
	for item := range strings.SplitSeq(text, ",") {
		kind, where, named := strings.Cut(strings.TrimSpace(item), ":")
		hosts := map[string]*[]string{"url": &a.URLs, "git": &a.Git, "ssh": &a.SSH}[kind]
		switch {
		case hosts != nil && !named && kind != "ssh":
			*hosts = append(*hosts, "*")
		case hosts != nil && allowedHost.MatchString(where):
			*hosts = append(*hosts, strings.ToLower(where))
		case kind == "path" && filepath.IsAbs(where):
			a.Folders = append(a.Folders, filepath.Clean(where))
		case kind == "path":
			return Allow{}, fmt.Errorf("%q names no folder: write for example path:/srv/wheels", item)
		case kind == "sdist" && !named:
			a.Sdists = true
		default:
			return Allow{}, fmt.Errorf("%q is nothing that can be allowed: write url, url:HOST, git, git:HOST, ssh:HOST, path:FOLDER or sdist", item)
		}
	}
	return a, nil
}

// hostAllowed reports whether a list names the host of an address. Only a host that is named itself may be spoken to without
// TLS, because what comes from it is the operator's to answer for.
func hostAllowed(hosts []string, u *url.URL) bool {
	bare, withPort := strings.ToLower(u.Hostname()), strings.ToLower(u.Host)
	usualPort := u.Port() == "" || u.Port() == map[string]string{"https": "443", "http": "80", "ssh": "22"}[u.Scheme]
	for _, h := range hosts {
		if h == withPort || h == hostPort(u) || h == bare && usualPort {
			return true
		}
	}
	return slices.Contains(hosts, "*") && u.Scheme != "http"
}

// anywhere allows what the form of a line allows, but for paths, which are not looked at without a folder.
var anywhere = Allow{URLs: []string{"*"}, Git: []string{"*"}, SSH: []string{"*"}}

// own are the hosts that the operator named, as host:port: any address is right for them.
func (a Allow) own() []string {
	var all []string
	for _, h := range slices.Concat(a.URLs, a.Git) {
		switch {
		case h == "*":
		case strings.Contains(h, ":"):
			all = append(all, h)
		default:
			all = append(all, h+":443", h+":80")
		}
	}
	for _, h := range a.SSH {
		if !strings.Contains(h, ":") {
			h += ":22"
		}
		all = append(all, h)
	}
	return all
}

// any reports whether any direct reference may be allowed.
func (a Allow) any() bool { return len(a.URLs)+len(a.Git)+len(a.SSH)+len(a.Folders) > 0 }
