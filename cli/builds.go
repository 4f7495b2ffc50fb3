package cli

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"apibuilder/python-env"
	"apibuilder/sandbox/nsjail"
)

// buildOptions are the settings of environments, read.
type buildOptions struct {
	timeout    time.Duration
	workers    int
	memory     int64
	disk       int64
	download   int64
	extra      []string // indexes, may hold credentials
	allowSdist bool
	allow      pythonenv.Allow
	git        []*url.URL // with credentials of repositories
	gitSSH     *pythonenv.GitSSH
	offline    bool
	keep       time.Duration
	maxSize    int64
	cacheSize  int64
}

// buildSettings are the settings of environments; every command that builds or looks at them reads them.
var buildSettings = []setting{
	{flag: "extra-index-url", serve: true, usage: "further package `INDEXES`, separated by spaces: each is asked before the next and the configured one"},
	{flag: "allow-sdist", serve: true, toggle: true, usage: "build packages that have no wheel from source, which runs their code in the build jail"},
	{flag: "allow-requirements", serve: true, usage: "what authors may require besides packages of the index, `KINDS` apart by commas: " +
		"url, url:HOST, git, git:HOST, ssh:HOST, path:FOLDER, sdist; nothing if empty"},
	{flag: "git-credentials", serve: true, secret: true, usage: "credentials of private git repositories"},
	{flag: "git-credentials-file", serve: true, usage: "`FILE` with credentials of private git repositories that --allow-requirements names, " +
		"https://USER:TOKEN@HOST/PATH, one a line"},
	{flag: "git-ssh-key-file", serve: true, usage: "`FILE` with the private key for git repositories that --allow-requirements names by ssh:HOST"},
	{flag: "git-known-hosts-file", serve: true, usage: "`FILE` with the hosts' own keys, as ssh-keyscan prints them, for --git-ssh-key-file"},
	{flag: "build-offline", serve: true, toggle: true, usage: "install only from the cache and from folders of wheels (UV_FIND_LINKS)"},
	{flag: "build-timeout", serve: true, value: "10m", usage: "`TIME` that a build may take"},
	{flag: "build-workers", serve: true, value: "2", usage: "builds at a time, a `NUMBER`; the others wait"},
	{flag: "build-memory", serve: true, value: "2G", usage: "most memory of a build, a `SIZE`"},
	{flag: "build-disk", serve: true, value: "8G", usage: "largest environment, a `SIZE`"},
	{flag: "build-download", serve: true, value: "4G", usage: "most that a build may download, a `SIZE`"},
	{flag: "env-keep", serve: true, value: "336h", usage: "`TIME` after which an environment goes that nobody uses"},
	{flag: "env-max-size", serve: true, usage: "`SIZE` of all environments above which those go that nobody uses; no bound if empty"},
	{flag: "env-cache-size", serve: true, value: "10G", usage: "`SIZE` above which uv's cache is emptied"},
}

func readBuildOptions(s settings) (o buildOptions, err error) {
	o.allowSdist, o.offline = s.text("allow-sdist") == "true", s.text("build-offline") == "true"
	var errs [14]error
	o.timeout, errs[0] = parse(s, "build-timeout", parseTimeout)
	o.workers, errs[1] = parse(s, "build-workers", parseCount)
	o.memory, errs[2] = parse(s, "build-memory", parseSize)
	o.disk, errs[3] = parse(s, "build-disk", parseSize)
	o.download, errs[4] = parse(s, "build-download", parseSize)
	o.keep, errs[5] = parse(s, "env-keep", parseKeep)
	o.maxSize, errs[6] = parse(s, "env-max-size", parseSize)
	o.cacheSize, errs[7] = parse(s, "env-cache-size", parseSize)
	_, errs[8] = parse(s, "allow-sdist", parseToggle)
	_, errs[9] = parse(s, "build-offline", parseToggle)
	o.extra, errs[10] = parse(s, "extra-index-url", func(text string) ([]string, error) {
		return parseIndexes(text, s["extra-index-url"].origin == fromFlag)
	})
	o.allow, errs[11] = parse(s, "allow-requirements", pythonenv.ParseAllow)
	o.git, errs[12] = readGitCredentials(s)
	o.gitSSH, errs[13] = readGitSSH(s)
	for _, err := range errs {
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// parseKeep reads how long something is kept: "14d" or "336h".
func parseKeep(text string) (time.Duration, error) {
	d, err := parseSpan(text)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q keeps nothing: write for example 14d or 1h", text)
	}
	return d, err
}

// readGitCredentials reads them from the file, or from the environment or the configuration, whichever was set closer. Its errors
// never show them.
func readGitCredentials(s settings) ([]*url.URL, error) {
	direct, file := s["git-credentials"], s["git-credentials-file"]
	if file.text == "" || direct.text != "" && direct.origin > file.origin {
		return parse(s, "git-credentials", pythonenv.ParseGitCredentials)
	}
	if direct.text != "" && direct.origin == file.origin {
		return nil, usagef("%s and %s are both set: leave one out", direct.name, file.name)
	}
	return parse(s, "git-credentials-file", func(path string) ([]*url.URL, error) {
		text, err := readSecretFile(path)
		if err != nil {
			return nil, err
		}
		return pythonenv.ParseGitCredentials(text)
	})
}

// readGitSSH reads the key for repositories over ssh; nil: there is none.
func readGitSSH(s settings) (*pythonenv.GitSSH, error) {
	key, hosts := s["git-ssh-key-file"], s["git-known-hosts-file"]
	switch {
	case key.text == "" && hosts.text == "":
		return nil, nil
	case key.text == "":
		return nil, usagef("%s is set without --git-ssh-key-file: name the key too, or leave it out", hosts.name)
	case hosts.text == "":
		return nil, usagef("%s is set without --git-known-hosts-file: no host is believed that is not known", key.name)
	}
	return parse(s, "git-ssh-key-file", func(path string) (*pythonenv.GitSSH, error) {
		text, err := readSecretFile(path)
		if err != nil {
			return nil, err
		}
		return pythonenv.NewGitSSH([]byte(text), hosts.text)
	})
}

// readSecretFile reads a file that nobody but its owner may read.
func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read %s, which holds secrets: run chmod 600 %s", path, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, 1<<20))
	return string(text), err
}

// parseIndexes never shows what it was given: there may be a password in it.
func parseIndexes(text string, onCommandLine bool) ([]string, error) {
	addresses := strings.Fields(text)
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("one of the indexes is no address: each must start with https:// or http://")
		}
		if u.User != nil && onCommandLine {
			return nil, fmt.Errorf("everybody on this machine can read a command line: put an index with credentials into the " +
				"environment or the configuration file")
		}
	}
	return addresses, nil
}

// apply puts the options into the builder's configuration.
func (o buildOptions) apply(cfg pythonenv.Config) pythonenv.Config {
	cfg.Timeout, cfg.Workers, cfg.MaxBytes, cfg.MaxDownload = o.timeout, o.workers, o.disk, o.download
	cfg.ExtraIndexes, cfg.AllowSdist, cfg.Offline = append(o.extra, cfg.ExtraIndexes...), o.allowSdist, o.offline
	cfg.Allow, cfg.GitCredentials, cfg.GitSSH = o.allow, o.git, o.gitSSH
	return cfg
}

// applyJail puts the options into the jail's configuration.
func (o buildOptions) applyJail(cfg nsjail.BuildConfig) nsjail.BuildConfig {
	cfg.MemoryBytes, cfg.WrittenBytes, cfg.FileBytes = o.memory, 3*o.disk, o.disk
	return cfg
}

// policy says what of the environments goes.
func (o buildOptions) policy() pythonenv.Policy {
	return pythonenv.Policy{Keep: o.keep, MaxBytes: o.maxSize, CacheBytes: o.cacheSize}
}
