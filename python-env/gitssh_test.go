package pythonenv

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshHost serves git repositories over ssh to one key, with the real git-upload-pack. asked are the commands that it was given.
type sshHost struct {
	address string
	key     []byte // of whoever may
	known   string // file of known hosts
	newer   bool   // it takes GIT_PROTOCOL

	mu    sync.Mutex
	asked []string
}

func newSSHHost(t *testing.T, newer bool) *sshHost {
	t.Helper()
	signer := func() (ssh.Signer, []byte) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return s, pem.EncodeToMemory(block)
	}
	own, _ := signer()
	client, key := signer()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &sshHost{address: l.Addr().String(), key: key, known: filepath.Join(t.TempDir(), "known_hosts"), newer: newer}
	if err := os.WriteFile(h.known, []byte(knownhosts.Line([]string{h.address}, own.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "git" || string(k.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("not this one")
		}
		return nil, nil
	}}
	cfg.AddHostKey(own)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { h.serve(conn, cfg) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return h
}

func (h *sshHost) serve(conn net.Conn, cfg *ssh.ServerConfig) {
	defer conn.Close()
	server, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	defer server.Close()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, asked, err := c.Accept()
		if err != nil {
			return
		}
		var env []string
		for r := range asked {
			_, rest, _ := strings.Cut(string(r.Payload), "\x00\x00\x00")
			switch {
			case r.Type == "env" && h.newer && strings.Contains(string(r.Payload), "GIT_PROTOCOL"):
				env = append(env, "GIT_PROTOCOL=version=2")
				_ = r.Reply(true, nil)
			case r.Type == "exec":
				_ = r.Reply(true, nil)
				h.run(channel, rest[1:], env)
			default:
				_ = r.Reply(false, nil)
			}
		}
	}
}

func (h *sshHost) run(channel ssh.Channel, command string, env []string) {
	defer channel.Close()
	h.mu.Lock()
	h.asked = append(h.asked, command)
	h.mu.Unlock()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Env = append(env, "PATH=/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	if cmd.Start() != nil {
		return
	}
	go func() {
		_, _ = io.Copy(in, channel)
		_ = in.Close()
	}()
	_ = cmd.Wait()
	_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, byte(cmd.ProcessState.ExitCode())})
}

// TestAPackageOverSSH builds from repositories of hosts that speak the newer protocol and the older one, with the key that they know
// and another, and where the host is not the one that is known.
func TestAPackageOverSSH(t *testing.T) {
	files := map[string]string{}
	for name, text := range sourceTree("over_ssh", "1.0", `if 1:
		told = []
		for where in ("/root/.ssh", "/home", "/etc/ssh"):
			try:
				told.append(str(os.listdir(where)))
			except OSError:
				pass
		text = "told = " + repr(told) + "; agent = " + repr(os.environ.get("SSH_AUTH_SOCK"))`) {
		files[name] = text
	}
	dir, commit := bareRepository(t, files)
	for name, newer := range map[string]bool{"the newer protocol": true, "the older one": false} {
		t.Run(name, func(t *testing.T) {
			host := newSSHHost(t, newer)
			build := func(key []byte, known string) (Environment, error) {
				access, err := NewGitSSH(key, known)
				if err != nil {
					t.Fatal(err)
				}
				b := allowing(t, Allow{SSH: []string{host.address}}, func(cfg *Config) { cfg.GitSSH = access })
				defer noneLeft(t, b)
				env, err := b.Ensure(t.Context(), Request{Requirements: "over-ssh @ git+ssh://git@" + host.address + dir + "@v1"})
				if err == nil {
					holdsNot(t, b.cfg.Dir, strings.Split(string(key), "\n")[1])
					if again, err := b.Ensure(t.Context(), Request{Lock: env.Lock}); err != nil || again.Key != env.Key {
						t.Errorf("from its lock: %v", err)
					}
				}
				return env, err
			}
			env, err := build(host.key, host.known)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(env.Lock, "over-ssh @ git+ssh://git@"+host.address+dir+"@"+commit+"\n") {
				t.Errorf("the lock is\n%s", env.Lock)
			}
			text, err := os.ReadFile(filepath.Join(env.Path, "lib/python"+env.Interpreter.Minor, "site-packages/over_ssh.py"))
			if err != nil || string(text) != "told = []; agent = None" {
				t.Errorf("the build's own code: %q, %v", text, err)
			}
			for _, command := range host.asked {
				if command != "git-upload-pack '"+dir+"'" {
					t.Errorf("the host was asked for %q", command)
				}
			}
			other := newSSHHost(t, newer)
			var e *BuildError
			if _, err := build(other.key, host.known); !errors.As(err, &e) || e.Reason != ReasonUnreachable {
				t.Errorf("with another key: %v", err)
			}
			before := len(host.asked)
			if _, err := build(host.key, other.known); !errors.As(err, &e) || e.Reason != ReasonUnreachable || len(host.asked) != before {
				t.Errorf("from a host that is not known: %v", err)
			}
		})
	}
}

func TestSSHReferences(t *testing.T) {
	a, err := ParseAllow("ssh:git.example.com,ssh:other.example.com:2222")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{ // what it comes to; !: what the refusal says
		"x @ git+ssh://git@git.example.com/team/x.git@v1":            "x @ git+ssh://git@git.example.com/team/x.git@v1",
		"x @ git+ssh://git@Git.example.com:22/team/x#subdirectory=a": "x @ git+ssh://git@git.example.com:22/team/x#subdirectory=a",
		"x @ git+ssh://git@other.example.com:2222/x":                 "x @ git+ssh://git@other.example.com:2222/x",
		"x @ git+ssh://git@other.example.com/x":                      "!not among the hosts",
		"x @ git+ssh://git@evil.example.com/x":                       "!not among the hosts",
		"x @ git+https://git.example.com/x":                          "!repository cannot be installed",
		"x @ git+ssh://git.example.com/x":                            "!no user",
		"x @ git+ssh://git:s3cret@git.example.com/x":                 "!password",
		"x @ git+ssh://-oProxyCommand@git.example.com/x":             "!no user",
		"x @ git+ssh://git@git.example.com/x'$(id)'":                 "!",
		"x @ git+ssh://git@git.example.com/x%27y":                    "!cannot be read",
		"x @ git+ssh://git@git.example.com/../x":                     "!cannot be read",
		"x @ ssh://git@git.example.com/x-1.0-py3-none-any.whl":       "!",
	} {
		reqs, err := a.parse(text)
		refusal, fails := strings.CutPrefix(want, "!")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), refusal) || strings.Contains(err.Error(), "s3cret")):
			t.Errorf("%s: %v, %v", text, reqs, err)
		case !fails && (err != nil || reqs[0].text != want):
			t.Errorf("%s: %v, %v", text, reqs, err)
		}
	}
	for _, bad := range []string{"ssh", "ssh:", "ssh:git@host"} {
		if _, err := ParseAllow(bad); err == nil {
			t.Errorf("%q is allowed", bad)
		}
	}
	if (Config{Allow: a}).checkGit() == nil {
		t.Error("a builder without a key would start")
	}
	u, err := newUpstream(Config{Allow: a}, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	r, err := parseReference("git+ssh://git@git.example.com:22/team/x.git@v1")
	if err != nil {
		t.Fatal(err)
	}
	if back := u.original("x @ " + u.place(r)); back != "x @ "+r.at {
		t.Errorf("%s comes back as %s", r.at, back)
	}
}

func FuzzReadUntilFlush(f *testing.F) {
	f.Add("000eversion 2\n0000rest")
	f.Add("0003")
	f.Add("+0ff")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readUntilFlush(strings.NewReader(text), 1<<10)
		if err == nil && (!strings.HasPrefix(text, got) || !strings.HasSuffix(got, "0000") || len(got) > 1<<10+4) {
			t.Errorf("%q is read as %q", text, got)
		}
	})
}
