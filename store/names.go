package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"strings"
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// KeySecretPrefix starts every key's secret, TokenSecretPrefix every management token's.
const (
	KeySecretPrefix   = "ab_"
	TokenSecretPrefix = "abt_"
)

// NewID returns kind, an underscore and 16 random characters (80 bits) of lower-case base32: "api_q3f...".
func NewID(kind string) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return kind + "_" + encoding.EncodeToString(b[:])
}

var newID = regexp.MustCompile(`^[a-z]+_[a-z2-7]{16}$`)

// IsNewID reports whether an id looks like one of NewID's of that kind.
func IsNewID(kind, id string) bool { return strings.HasPrefix(id, kind+"_") && newID.MatchString(id) }

// NewSecret returns a secret that starts with prefix and carries 160 random bits, the part of it that may be shown
// again, and its hash.
func NewSecret(prefix string) (secret, visible string, hash [32]byte) {
	var b [20]byte
	_, _ = rand.Read(b[:])
	secret = prefix + encoding.EncodeToString(b[:])
	return secret, secret[:len(prefix)+6], HashSecret(secret)
}

// HashSecret is what is stored of a secret.
func HashSecret(secret string) [32]byte {
	var space [128]byte // longer than any secret of ours: no allocation
	return sha256.Sum256(append(space[:0], secret...))
}

// ValidName returns nil for a name that works as a DNS label (RFC 1123), so that every API can have a host name of its
// own. Such a name has no underscore, and so is never an id of NewID. It may be one that comes from elsewhere: see Store.CreateAPI.
func ValidName(name string) error {
	if validName.MatchString(name) {
		return nil
	}
	return fmt.Errorf("name %.100q: use 1 to 63 lower-case letters, digits and inner hyphens, for example %q", name, SuggestName(name))
}

// SuggestName turns any text into a valid name that resembles it.
func SuggestName(name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	s = strings.Trim(s, "-")
	if len(s) > 63 {
		s = strings.TrimRight(s[:63], "-")
	}
	if s == "" {
		return "my-api"
	}
	return s
}
