package cli

import (
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"apibuilder/metrics"
	"apibuilder/store"
)

// pipes is a listener of connections that hold nothing on their way.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.done)
	return nil
}

func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A scraper that does not read what it has asked for keeps no server from its end, nor makes that an error.
func TestAScraperThatDoesNotReadHoldsUpNoStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipes{make(chan net.Conn), make(chan struct{})}
		s := &server{log: zap.NewNop(), failed: make(chan error, 1), metrics: metrics.New("", ""), metricsListener: l}
		s.serveMetrics()
		ours, theirs := net.Pipe()
		defer ours.Close()
		l.conns <- theirs
		if _, err := io.WriteString(ours, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// hanging is a database that takes questions and answers none.
type hanging struct {
	store.Store
	asked int
}

func (h *hanging) API(ctx context.Context, _ string) (store.API, error) {
	h.asked++
	<-ctx.Done()
	return store.API{}, ctx.Err()
}

// A scrape asks a database that hangs once for a name, not once for each API: it would end too late to say that the database is away.
func TestNamesWaitOnceForADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &hanging{}
		n := (&server{store: db}).newNames()
		began := time.Now()
		for i := range 100 {
			if name := n.of("api_" + strconv.Itoa(i)); name != "" {
				t.Errorf("the name %q", name)
			}
		}
		if took := time.Since(began); took > scrapeTimeout || db.asked != 1 {
			t.Errorf("it took %v, with %d questions", took, db.asked)
		}
		time.Sleep(namesRetry)
		if n.of("api_0"); db.asked != 2 {
			t.Errorf("later: %d questions", db.asked)
		}
	})
}
