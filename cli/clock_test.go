package cli

import (
	"os"
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

// TestTheFirstClockOfAStore is believed where nothing can be old, and not where a store of a version before is there.
func TestTheFirstClockOfAStore(t *testing.T) {
	for _, c := range []struct{ store, clock, believed bool }{{false, false, true}, {true, false, false}, {true, true, true}} {
		data, err := openDataDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		core, told := observer.New(zap.WarnLevel)
		s := &server{log: zap.New(core), data: data}
		for name, there := range map[string]bool{"apibuilder.db": c.store, "clock": c.clock} {
			if there {
				err = os.WriteFile(data.join(name), nil, 0o600)
			}
		}
		if err == nil {
			err = s.openClock()
		}
		if err != nil {
			t.Fatal(err)
		}
		if believed := time.Since(s.clock.Now()) < time.Hour; believed != c.believed || (told.Len() == 0) != c.believed {
			t.Errorf("%+v: %v, told %v", c, s.clock.Now(), told.All())
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
}
