package cli

import (
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
)

// TestATokenThatHasExpiredIsNotCalledValid in the list of tokens.
func TestATokenThatHasExpiredIsNotCalledValid(t *testing.T) {
	now := time.Now()
	before, after := now.Add(-time.Second), now.Add(time.Second)
	for want, token := range map[string]admin.Token{
		"valid": {ExpiresAt: &after}, "expired": {ExpiresAt: &before}, "revoked": {ExpiresAt: &before, RevokedAt: &before},
	} {
		if got := tokenState(token, now); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := tokenState(admin.Token{}, now); got != "valid" {
		t.Errorf("%q of one that never expires", got)
	}
}
