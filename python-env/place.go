package pythonenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// forUV is a requirement as uv gets it: in the jail, addresses lead to the mirror.
func (b *Builder) forUV(r requirement) string {
	if r.ref == nil {
		return r.text
	}
	return r.head + b.up.place(*r.ref) + r.tail
}

// lockForUV is a lock as uv gets it.
func (b *Builder) lockForUV(l lock) string {
	text := l.text
	for _, ref := range l.refs {
		text = strings.ReplaceAll(text, " @ "+ref.at+" ", " @ "+b.up.place(ref)+" ")
		text = strings.ReplaceAll(text, " @ "+ref.at+"\n", " @ "+b.up.place(ref)+"\n")
	}
	return text
}

// place is where a direct reference leads in the jail.
func (u *upstream) place(r reference) string {
	switch r.kind {
	case directURL:
		return u.localURL("d", r.url)
	case directGit:
		return r.gitAt(u.localURL("g", r.url))
	}
	return r.at
}

// wheelsAt are the files that references name by path, for the jail to see. The build user must be able to read them.
func wheelsAt(refs []reference) (paths []string, err error) {
	for _, r := range refs {
		if r.kind != directPath {
			continue
		}
		if at, err := firstClosed(r.path); err != nil {
			return nil, fmt.Errorf("show a wheel to a build: %w: run chmod o+x %s", err, at)
		}
		if info, err := os.Stat(r.path); err != nil || info.Mode().Perm()&0o004 == 0 {
			return nil, fmt.Errorf("show a wheel to a build: %s cannot be read by unprivileged users: run chmod o+r %s", r.path, r.path)
		}
		paths = append(paths, r.path)
	}
	return paths, nil
}

// refs are the direct references of a plan.
func (p plan) refs() []reference {
	all := p.lock.refs
	for _, r := range p.reqs {
		if r.ref != nil {
			all = append(all, *r.ref)
		}
	}
	return all
}

// gitPaths are what git needs besides libraries. It is run by uv, in the jail, and finds a shell for its own scripts.
func gitPaths() []string {
	var there []string
	for _, path := range []string{"/usr/bin", "/bin/sh", "/usr/lib/git-core", "/usr/libexec/git-core", "/usr/share/git-core"} {
		if _, err := os.Stat(path); err == nil {
			there = append(there, path)
		}
	}
	return there
}

// checkGit says what is missing where the operator allows repositories.
func (c Config) checkGit() error {
	if len(c.Allow.Git)+len(c.Allow.SSH) == 0 {
		return nil
	}
	if len(c.Allow.SSH) > 0 && c.GitSSH == nil {
		return fmt.Errorf("packages may come from git repositories over ssh, and there is no key for them: set --git-ssh-key-file and " +
			"--git-known-hosts-file, or take ssh:HOST out of --allow-requirements")
	}
	if path, err := exec.LookPath("git"); err != nil || filepath.Dir(path) != "/usr/bin" {
		return fmt.Errorf("packages may come from git repositories, and there is no /usr/bin/git: install the package git")
	}
	return nil
}
