package pythonenv

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// GitSSH is the operator's key for repositories that are spoken to over ssh, and the hosts whose own keys are known. It is used in
// this process alone: no build sees it.
type GitSSH struct {
	signer ssh.Signer
	hosts  ssh.HostKeyCallback
}

// NewGitSSH takes a private key without a passphrase, as ssh-keygen writes it, and the path of a file of known hosts (sshd(8)). Its
// errors show nothing of the key.
func NewGitSSH(key []byte, knownHosts string) (*GitSSH, error) {
	signer, err := ssh.ParsePrivateKey(key)
	if _, sealed := errors.AsType[*ssh.PassphraseMissingError](err); sealed {
		return nil, errors.New("the key of repositories has a passphrase: give one without, and let nobody else read it")
	}
	if err != nil {
		return nil, errors.New("the key of repositories is no private key as ssh-keygen writes it")
	}
	hosts, err := knownhosts.New(knownHosts)
	if err != nil {
		return nil, fmt.Errorf("read the known hosts of repositories: %w", err)
	}
	return &GitSSH{signer, hosts}, nil
}

// algorithms are those for which a host's key is known, so that it does not show another one of its keys.
func (g *GitSSH) algorithms(address string) ([]string, error) {
	err := g.hosts(address, &net.TCPAddr{}, g.signer.PublicKey()) // which is the key of no host
	unknown, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok || len(unknown.Want) == 0 {
		return nil, fmt.Errorf("the key of %s is not among the known hosts (--git-known-hosts-file)", address)
	}
	var all []string
	for _, known := range unknown.Want {
		if kind := known.Key.Type(); kind == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			all = append(all, kind)
		}
	}
	return all, nil
}

const (
	sshPatience  = 30 * time.Second // for a handshake
	serviceLine  = "001e# service=git-upload-pack\n0000"
	firstVersion = "000eversion 2\n"
)

// overSSH answers git's protocol over HTTP (gitprotocol-http(5)) from a repository that is reached over ssh. Version 2 of the
// protocol is a series of requests by itself; in the older one a build, which has nothing of the repository, asks once for all.
func (m *mirror) overSSH(w http.ResponseWriter, r *http.Request, target *url.URL) {
	path, isAdvertisement := strings.CutSuffix(target.Path, "/info/refs")
	if !isAdvertisement {
		path = strings.TrimSuffix(path, "/git-upload-pack")
	}
	session, err := m.up.uploadPack(r.Context(), target, path, r.Header.Get("Git-Protocol"))
	if err != nil {
		m.say(fmt.Sprintf("cannot fetch from %s: %v", target.Host, err))
		http.Error(w, "the host does not answer", http.StatusBadGateway)
		return
	}
	defer session.close()
	from := bufio.NewReader(m.counted(session.out))
	advertised, err := readUntilFlush(from, maxPage)
	if err != nil {
		m.say(fmt.Sprintf("%s shows no repository at %s", target.Host, quoted(path)))
		http.Error(w, "there is no such repository", http.StatusNotFound)
		return
	}
	if isAdvertisement {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		if !strings.HasPrefix(advertised, firstVersion) {
			_, _ = io.WriteString(w, serviceLine)
		}
		_, _ = io.WriteString(w, advertised)
		return
	}
	body, err := requestBody(w, r)
	if err == nil {
		_, err = io.Copy(session.in, body)
	}
	if err != nil {
		http.Error(w, "the request cannot be passed on", http.StatusBadRequest)
		return
	}
	_ = session.in.Close()
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	_, _ = io.Copy(w, from)
}

// requestBody is what git asks for, which it may have compressed.
func requestBody(w http.ResponseWriter, r *http.Request) (io.Reader, error) {
	body := http.MaxBytesReader(w, r.Body, maxGitRequest)
	if r.Header.Get("Content-Encoding") != "gzip" {
		return body, nil
	}
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	return io.LimitReader(plain, maxGitRequest), nil
}

// sshSession is git-upload-pack on a host.
type sshSession struct {
	in    io.WriteCloser
	out   io.Reader
	close func()
}

// uploadPack starts git-upload-pack for a repository. It ends with ctx.
func (u *upstream) uploadPack(ctx context.Context, target *url.URL, path, protocol string) (_ *sshSession, err error) {
	if u.ssh == nil {
		return nil, errors.New("there is no key for repositories over ssh")
	}
	address := hostPort(target)
	algorithms, err := u.ssh.algorithms(address)
	if err != nil {
		return nil, err
	}
	conn, err := u.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end := func() {
		stop()
		_ = conn.Close()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(sshPatience))
	inner, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: target.User.Username(), Auth: []ssh.AuthMethod{ssh.PublicKeys(u.ssh.signer)}, HostKeyCallback: u.ssh.hosts,
		HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	client := ssh.NewClient(inner, channels, requests)
	end = func() {
		stop()
		_ = client.Close()
		_ = client.Wait()
	}
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	if strings.Contains(protocol, "version=2") {
		_ = session.Setenv("GIT_PROTOCOL", "version=2") // a host that does not take it speaks the older one
	}
	s := &sshSession{close: func() { end() }}
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return nil, err
	}
	if !sshPath.MatchString(path) {
		return nil, fmt.Errorf("%s is no path of a repository", quoted(path))
	}
	return s, session.Start("git-upload-pack '" + path + "'")
}

var errPacket = errors.New("this is not git's protocol")

// readUntilFlush reads packets (gitprotocol-common(5)) up to the one that ends a message, which it includes.
func readUntilFlush(from io.Reader, most int) (string, error) {
	var text strings.Builder
	for {
		var size [4]byte
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return "", err
		}
		if _, err := hex.DecodeString(string(size[:])); err != nil {
			return "", errPacket
		}
		n, err := strconv.ParseUint(string(size[:]), 16, 16)
		switch {
		case err != nil || n > 0 && n < 4 || text.Len()+int(n) > most:
			return "", errPacket
		case n == 0:
			text.Write(size[:])
			return text.String(), nil
		}
		text.Write(size[:])
		if _, err := io.CopyN(&text, from, int64(n)-4); err != nil {
			return "", err
		}
	}
}
