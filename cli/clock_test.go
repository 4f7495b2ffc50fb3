package cli

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestClocksThatDifferAreTold(t *testing.T) {
	core, told := observer.New(zap.WarnLevel)
	s := &server{log: zap.New(core)}
	for _, little := range []time.Duration{0, time.Second, -mostSkew} {
		s.tellSkew(little)
	}
	if told.Len() != 0 {
		t.Errorf("told of %v", told.All())
	}
	for _, much := range []time.Duration{2 * mostSkew, -time.Hour} {
		s.tellSkew(much)
		if all := told.TakeAll(); len(all) != 1 || all[0].ContextMap()["ahead"] != much {
			t.Errorf("of %v: %v", much, all)
		}
	}
}
