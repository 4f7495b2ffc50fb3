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

// notifyStopping says that the service ends, unless another server goes on with it, and asks for the time that this takes where the unit's
// TimeoutStopSec is less: systemd would kill the server while it drains.
func (s *server) notifyStopping() {
	if !s.hasSuccessor() {
		s.notify(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, s.stopTime().Microseconds()))
	}
}

// restOfStop is what the parts take together that have a deadline of stopTimeout, which they hardly use.
const restOfStop = time.Minute

// stopTime is how long stopping may take in order.
func (s *server) stopTime() time.Duration {
	sum := restOfStop
	for _, part := range s.stops {
		if part.time > stopTimeout {
			sum += part.time
		}
	}
	return sum
}

// notify does nothing where there is no service manager.
func (s *server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("tell the service manager", zap.Error(err))
	}
}
