package pythonenv

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A direct reference (PEP 508, PEP 440) names where a package is instead of its version: "name @ https://host/name-1.0-py3-none-any.whl",
// "name @ git+https://host/repository@revision#subdirectory=part", "name @ file:///folder/name-1.0-py3-none-any.whl".

// kinds of direct references, by how they begin.
const (
	directURL  = "url"
	directGit  = "git"
	directPath = "path"
)

// reference is where a direct reference leads. at is its one form, as it stands in locks, so it can be shown and read again.
type reference struct {
	kind string
	at   string
	url  *url.URL // of the wheel, or of the repository without revision and fragment; nil for a path
	path string   // of a wheel on this machine
	rev  string   // of a repository; may be empty
	sub  string   // directory in a repository; may be empty
	hash string   // that the address names, "sha256:..."; may be empty
}

var (
	directLine = regexp.MustCompile(`^(` + namePattern + `)\s*(?:\[([A-Za-z0-9._,\s-]*)\])?\s*@\s*(\S+)\s*(?:\s;\s*([^\s-].*))?$`)
	wheelName  = regexp.MustCompile(`^(` + namePattern + `)-[A-Za-z0-9.+!_]+(?:-[0-9][A-Za-z0-9_]*)?-[A-Za-z0-9._]+-[A-Za-z0-9._]+-[A-Za-z0-9._]+\.whl$`)
	revision   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}$`)
	commitID   = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	subPath    = regexp.MustCompile(`^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*$`)
	plainPath  = regexp.MustCompile(`^[A-Za-z0-9._~!$&*+=:@%/-]+$`) // of an address, escaped
	filePath   = regexp.MustCompile(`^/[A-Za-z0-9._+/-]+$`)
)

// parseReference reads where a direct reference leads. Its error says what is wrong without the address, in which there may be
// a password.
func parseReference(text string) (reference, error) {
	address, isGit := strings.CutPrefix(text, "git+")
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Opaque != "" || !plainPath.MatchString(u.EscapedPath()) && u.EscapedPath() != "":
		return reference{}, fmt.Errorf("it cannot be read")
	case isGit && u.Scheme == "ssh":
		return parseSSH(u)
	case u.User != nil:
		return reference{}, fmt.Errorf("it holds a user name or password, which would be kept as plain text")
	case u.RawQuery != "" || u.ForceQuery:
		return reference{}, fmt.Errorf("it holds a query")
	case u.Scheme == "file" && !isGit:
		return parsePath(u)
	case u.Scheme != "https" && u.Scheme != "http" || !allowedHost.MatchString(u.Host):
		return reference{}, fmt.Errorf("it begins with neither https:// nor git+https://")
	case hasDots(u.Path):
		return reference{}, fmt.Errorf("it has a part of dots")
	case isGit:
		return parseGit(u)
	}
	r := reference{kind: directURL, url: u}
	if r.hash, err = parseFragment(u.EscapedFragment(), "sha256", hexSum); err != nil {
		return reference{}, err
	}
	if r.hash != "" {
		r.hash = "sha256:" + r.hash
	}
	u.Fragment, u.RawFragment = "", ""
	u.Host = strings.ToLower(u.Host)
	r.at = u.String()
	return r, nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

func hasDots(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// parseFragment reads "name=value"; an empty fragment has none.
func parseFragment(fragment, name string, value *regexp.Regexp) (string, error) {
	if fragment == "" {
		return "", nil
	}
	text, ok := strings.CutPrefix(fragment, name+"=")
	if !ok || !value.MatchString(text) || hasDots(text) {
		return "", fmt.Errorf("behind # only %s=... may stand", name)
	}
	return text, nil
}

var (
	sshUser = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	sshPath = regexp.MustCompile(`^/[A-Za-z0-9._~+@/-]+$`) // what no shell of the host reads as anything else
)

// parseSSH reads a repository over ssh: a user without a password, and a path without anything to quote.
func parseSSH(u *url.URL) (reference, error) {
	_, password := u.User.Password()
	switch {
	case password:
		return reference{}, fmt.Errorf("it holds a password, which would be kept as plain text")
	case !sshUser.MatchString(u.User.Username()):
		return reference{}, fmt.Errorf("it names no user: write ssh://git@HOST/PATH")
	case u.RawQuery != "" || u.ForceQuery:
		return reference{}, fmt.Errorf("it holds a query")
	case !allowedHost.MatchString(u.Host) || !sshPath.MatchString(u.EscapedPath()) || hasDots(u.Path):
		return reference{}, fmt.Errorf("it cannot be read")
	}
	return parseGit(u)
}

func parseGit(u *url.URL) (reference, error) {
	r := reference{kind: directGit, url: u}
	var err error
	if r.sub, err = parseFragment(u.EscapedFragment(), "subdirectory", subPath); err != nil {
		return reference{}, err
	}
	u.Fragment, u.RawFragment = "", ""
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if at := strings.LastIndex(path, "@"); at >= 0 {
		path, r.rev = path[:at], path[at+1:]
		if !revision.MatchString(r.rev) || strings.Contains(r.rev, "..") {
			return reference{}, fmt.Errorf("what stands behind @ is no branch, tag or commit")
		}
	}
	if strings.Trim(path, "/") == "" {
		return reference{}, fmt.Errorf("it names no repository")
	}
	if u.Path, err = url.PathUnescape(path); err != nil {
		return reference{}, fmt.Errorf("it cannot be read")
	}
	u.RawPath = path
	u.Host = strings.ToLower(u.Host)
	r.at = r.gitAt(u.String())
	return r, nil
}

// gitAt is the whole reference to a repository that has this address.
func (r reference) gitAt(repository string) string {
	at := "git+" + repository
	if r.rev != "" {
		at += "@" + r.rev
	}
	if r.sub != "" {
		at += "#subdirectory=" + r.sub
	}
	return at
}

func parsePath(u *url.URL) (reference, error) {
	if u.Host != "" || !filePath.MatchString(u.Path) || filepath.Clean(u.Path) != u.Path {
		return reference{}, fmt.Errorf("a path must be file:///FOLDER/NAME.whl with letters, digits and . _ + - alone")
	}
	hash, err := parseFragment(u.EscapedFragment(), "sha256", hexSum)
	if hash != "" {
		hash = "sha256:" + hash
	}
	return reference{kind: directPath, path: u.Path, at: "file://" + u.Path, hash: hash}, err
}

// wheel returns the normalised name of the project that a wheel's file name begins with, "" when it is not one (PEP 427).
func (r reference) wheel() string {
	path := r.path
	if r.url != nil {
		path = r.url.Path
	}
	if m := wheelName.FindStringSubmatch(filepath.Base(path)); m != nil {
		return normalise(m[1])
	}
	return ""
}

// check says why an author may not use a reference; nil: it is allowed.
func (a Allow) check(r reference) error {
	hosts := a.URLs
	switch r.kind {
	case directPath:
		return a.checkPath(r.path)
	case directGit:
		if hosts = a.Git; r.url.Scheme == "ssh" {
			hosts = a.SSH
		}
	}
	switch {
	case len(hosts) == 0 && r.kind == directGit:
		return fmt.Errorf("a repository cannot be installed from")
	case len(hosts) == 0:
		return fmt.Errorf("an address cannot be installed from")
	case !hostAllowed(hosts, r.url):
		return fmt.Errorf("%s is not among the hosts that packages may come from by %s", r.url.Scheme+"://"+r.url.Host, r.kind)
	}
	return nil
}

// checkPath accepts a wheel that lies below an allowed folder, wherever links lead.
func (a Allow) checkPath(path string) error {
	if len(a.Folders) == 0 {
		return fmt.Errorf("a path cannot be installed from")
	}
	outside := fmt.Errorf("%s is not a file below a folder that packages may come from", quoted(path))
	if real, err := filepath.EvalSymlinks(path); err != nil || real != path { // one name for one file
		return outside
	}
	for _, folder := range a.Folders {
		real, err := filepath.EvalSymlinks(folder)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(real, path); err != nil || !filepath.IsLocal(rel) {
			continue
		}
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			return nil
		}
	}
	return outside
}

// isDirect reports whether a line means a direct reference, allowed or not.
func isDirect(head string) bool {
	head, _, _ = strings.Cut(head, " ;")
	return strings.Contains(head, "://") || strings.Contains(head, "@") || strings.HasPrefix(head, "./") || strings.HasPrefix(head, "/")
}

const directRemedy = "name a package of the index and its version; the operator of this server can allow more"

// parseDirect reads a line that is a direct reference.
func (a Allow) parseDirect(n int, head string, hashes []string) (requirement, error) {
	m := directLine.FindStringSubmatch(head)
	if m == nil {
		m = []string{head, "", "", head, ""} // an address alone
		if address, marker, ok := strings.Cut(head, " ;"); ok {
			m[3], m[4] = strings.TrimSpace(address), strings.TrimSpace(marker)
		}
	}
	ref, err := parseReference(a.absolute(m[3]))
	if err != nil {
		return requirement{}, refused(n, "the address cannot be used: "+err.Error(), directRemedy)
	}
	if err := a.check(ref); err != nil {
		return requirement{}, refused(n, err.Error(), directRemedy)
	}
	r := requirement{line: n, name: normalise(m[1]), ref: &ref, hashes: hashes}
	switch named := ref.wheel(); {
	case ref.kind == directGit && r.name == "":
		return r, refused(n, "the line names no package", "write its name before the address, for example \"name @ git+https://...\"")
	case ref.kind == directGit && len(hashes) > 0:
		return r, refused(n, "a repository has no hash", "name a commit instead: @ and 40 hexadecimal digits")
	case ref.kind != directGit && named == "":
		return r, refused(n, "the address does not end with the name of a wheel", "only wheels, files that end in .whl, can be named by address or path")
	case ref.kind != directGit && r.name == "":
		r.name = named
	case ref.kind != directGit && r.name != named:
		return r, refused(n, fmt.Sprintf("the file is one of %s, and the line names %s", named, r.name), "correct the name or the address")
	}
	if m[4] != "" && !marker.MatchString(m[4]) {
		return r, refused(n, fmt.Sprintf("%s is not a marker", quoted(m[4])), "write for example ; python_version >= \"3.11\"")
	}
	if ref.hash != "" {
		r.hashes = append(r.hashes, ref.hash)
	}
	r.head, r.tail = r.name+extras(m[2])+" @ ", ""
	if m[4] != "" {
		r.tail = " ; " + strings.TrimSpace(m[4])
	}
	r.text = r.head + ref.at + r.tail
	return r, nil
}

// absolute gives a relative path its place below the first allowed folder, and a path its scheme.
func (a Allow) absolute(text string) string {
	if rel, ok := strings.CutPrefix(text, "./"); ok && len(a.Folders) > 0 {
		return "file://" + filepath.Join(a.Folders[0], rel)
	}
	if strings.HasPrefix(text, "/") {
		return "file://" + text
	}
	return text
}
