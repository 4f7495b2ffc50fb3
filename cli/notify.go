package cli

import (
	"fmt"
	"os"
	"time"

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

// stopSlack is what a part may take longer than it should.
const stopSlack = 5 * time.Second

// notifyStopsWithin asks for more time than the unit's TimeoutStopSec, where the drain timeout needs more: systemd would kill the server while
// it drains.
func (s *server) notifyStopsWithin(d time.Duration) {
	if !s.hasSuccessor() {
		s.notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (d + stopSlack).Microseconds()))
	}
}

// notify does nothing where there is no service manager.
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("tell the service manager", zap.Error(err))
	}
}
