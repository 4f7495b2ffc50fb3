package cli

import (
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
	s.stops = []stop{{"listener", stopTimeout, nil}, {"sandboxes", 10*time.Minute + stopTimeout, nil}, {"gateway", 10 * time.Minute, nil}}
	told := func() string {
		s.notifyStopping()
		_ = manager.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		text := make([]byte, 100)
		n, err := manager.Read(text)
		if err != nil {
			return ""
		}
		return string(text[:n])
	}
	if text := told(); text != "STOPPING=1\nEXTEND_TIMEOUT_USEC=1275000000" {
		t.Errorf("the service manager was told %q", text)
	}
	close(s.succeeded) // the service goes on
	if text := told(); text != "" {
		t.Errorf("the service manager was told %q", text)
	}
}
