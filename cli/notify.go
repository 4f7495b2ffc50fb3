package cli

import (
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// notifyReady tells the service manager that the server serves (sd_notify(3)). One that has taken over is the service's main
// process from here on; systemd hears it where the unit has NotifyAccess=all.
func (s *server) notifyReady() {
	state := daemon.SdNotifyReady
	if s.predecessor.claim != nil {
		state += fmt.Sprintf("\nMAINPID=%d", os.Getpid())
	}
	s.notify(state)
}

// notifyStopping says that the service ends, unless another server goes on with it.
func (s *server) notifyStopping() {
	if !s.hasSuccessor() {
		s.notify(daemon.SdNotifyStopping)
	}
}

// notify does nothing where there is no service manager.
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("tell the service manager", zap.Error(err))
	}
}
