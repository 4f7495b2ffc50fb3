package cli

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestALongDrainIsToldToTheServiceManager, which kills a service that stops for longer than its unit says.
func TestALongDrainIsToldToTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	s := &server{log: zap.NewNop(), succeeded: make(chan struct{})}
	told := func() string {
		_ = manager.SetReadDeadline(time.Now().Add(time.Second))
		text := make([]byte, 100)
		n, err := manager.Read(text)
		if err != nil {
			return ""
		}
		return string(text[:n])
	}
	during := ""
	part := stop{"gateway", 10 * time.Minute, func(context.Context) error {
		during = told()
		return nil
	}}
	s.stops = []stop{part}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if during != "EXTEND_TIMEOUT_USEC=605000000" {
		t.Errorf("the service manager was told %q", during)
	}
	close(s.succeeded) // the service goes on
	s.stops = []stop{part}
	if err := s.stop(); err != nil || during != "" {
		t.Errorf("the service manager was told %q; %v", during, err)
	}
}
