package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// TestANameThatFailsIsLeftAlone: whoever makes handshakes would use up what the authority grants to all names.
func TestANameThatFailsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewACME(ACMEConfig{Storage: t.TempDir(), TLS: &net.TCPAddr{}, Log: zap.NewNop(), Known: func(_ context.Context, name string) error {
			if name == "nobody.apps.test" {
				return errors.New("no API is there")
			}
			return nil
		}})
		defer func() {
			a.Stop()
			synctest.Wait()
		}()
		var mu sync.Mutex
		asked, fail := map[string]int{}, true
		a.get = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			time.Sleep(3 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			asked[hello.ServerName]++
			if fail {
				return nil, errors.New("the authority cannot reach it")
			}
			return &tls.Certificate{}, nil
		}
		ask := func(name string) error {
			_, err := a.Certificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{"h2"}})
			return err
		}
		for range 5 * 60 { // five minutes of handshakes, ten at a time
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { _ = ask("bad.apps.test") })
			}
			all.Wait()
			time.Sleep(time.Second)
		}
		if n := asked["bad.apps.test"]; n != 3*10 {
			t.Errorf("the authority is asked %d times", n)
		}
		if err := ask("bad.apps.test"); !errors.Is(err, errPaused) || !strings.Contains(err.Error(), "bad.apps.test") {
			t.Errorf("%v", err)
		}
		for range 2 {
			if err := ask("nobody.apps.test"); err == nil || errors.Is(err, errPaused) {
				t.Errorf("a name that nobody has: %v", err)
			}
		}
		if len(a.failures.names) != 1 {
			t.Errorf("remembered: %v", a.failures.names)
		}
		fail = false
		if err := ask("good.apps.test"); err != nil {
			t.Errorf("another name: %v", err)
		}
		time.Sleep(longestPause)
		if err := ask("bad.apps.test"); err != nil || len(a.failures.names) != 0 {
			t.Errorf("once it is well: %v, %v", err, a.failures.names)
		}
	})
}
