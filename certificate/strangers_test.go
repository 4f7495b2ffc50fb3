package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// No stranger fills the log: not by names that nobody has, and not by questions that only an authority asks.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	a := NewACME(ACMEConfig{
		Storage: t.TempDir(), TLS: &net.TCPAddr{}, Plain: &net.TCPAddr{}, Log: zap.New(core),
		Known: func(context.Context, string) error { return errors.New("no API is there") },
	})
	defer a.Stop()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	const many = 5 * mostLines
	for i := range many {
		name := "stranger" + strconv.Itoa(i) + ".apps.test"
		for _, protocol := range []string{"h2", acmeProtocol} {
			if _, err := a.Certificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{protocol}, Conn: ours}); err == nil {
				t.Fatal("there is a certificate")
			}
		}
		r := httptest.NewRequest(http.MethodGet, "http://"+name+"/.well-known/acme-challenge/"+strconv.Itoa(i), nil)
		if a.AnswerChallenge(httptest.NewRecorder(), r) {
			t.Fatal("there is a challenge")
		}
	}
	if n := logged.Len(); n > 3*mostLines {
		t.Errorf("%d lines, the last is %v", n, logged.All()[n-1])
	}
	if logged.Len() == 0 {
		t.Error("nothing is told at all")
	}
}
