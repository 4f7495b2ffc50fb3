package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestStartWaitBeginsWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		p := &startWait{Context: parent, limit: time.Minute}
		time.Sleep(time.Hour)
		if p.Err() != nil {
			t.Fatal("it ran before anybody waited")
		}
		begin := time.Now()
		<-p.Done()
		if time.Since(begin) != time.Minute || !errors.Is(p.Err(), context.DeadlineExceeded) {
			t.Errorf("after %v: %v", time.Since(begin), p.Err())
		}
		p.stop()

		p = &startWait{Context: parent, limit: time.Minute}
		cancel()
		<-p.Done()
		if !errors.Is(p.Err(), context.Canceled) {
			t.Errorf("with its parent: %v", p.Err())
		}
		p.stop()
		(&startWait{Context: parent, limit: time.Minute}).stop()
	})
}
