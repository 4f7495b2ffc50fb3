package pace

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBreaksAreForPatientWorkAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		for i := range 1000 {
			Round(t.Context(), i)
		}
		Break(t.Context())
		if took := time.Since(begin); took != 0 {
			t.Errorf("work that somebody waits for took breaks of %s", took)
		}
		ctx := Patient(t.Context())
		for i := range 1000 {
			Round(ctx, i)
		}
		if took := time.Since(begin); took != 10*rest {
			t.Errorf("ten breaks took %s", took)
		}
		Round(ctx, 0)
		if took := time.Since(begin); took != 10*rest {
			t.Errorf("the first round took a break, %s", took)
		}
	})
}
