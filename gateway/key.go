package gateway

import (
	"iter"
	"net/http"
	"strings"

	"apibuilder/store"
)

const apiKeyField = "X-Api-Key"

// longestSecret is more than any secret of ours has; longer ones are not worth a hash.
const longestSecret = 128

// secretsIn returns the secrets of ours that a request presents: X-API-Key: ab_..., and Authorization: Bearer ab_....
// Any other value of these fields is the author's. It appends them to secrets.
func secretsIn(h http.Header, secrets []string) []string {
	for _, field := range [...]string{apiKeyField, "Authorization"} {
		for _, value := range h[field] {
			for secret := range secretsOf(field, value) {
				secrets = append(secrets, secret)
			}
		}
	}
	return secrets
}

// secretsOf yields the secrets of ours in one value of a field. Values may have been joined by commas on their way
// (RFC 9110, 5.3), so each part is looked at. A management token counts: it opens nothing here, and no author may have it.
func secretsOf(field, value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(value, ",") {
			part = strings.TrimSpace(part)
			if field == "Authorization" {
				scheme, credentials, _ := strings.Cut(part, " ")
				if !strings.EqualFold(scheme, "Bearer") {
					continue
				}
				part = strings.TrimSpace(credentials)
			}
			if isSecret(part) && !yield(part) {
				return
			}
		}
	}
}

// hasSecrets reports whether no author may see a value of a field: it presents a secret of ours, or mentions one in a way in which it is not
// presented, because its consumer has mistaken how to.
func hasSecrets(field, value string) bool {
	for range secretsOf(field, value) {
		return true
	}
	return mentionsSecret(value, store.KeySecretPrefix) || mentionsSecret(value, store.TokenSecretPrefix)
}

func mentionsSecret(text, prefix string) bool {
	for {
		_, rest, found := strings.Cut(text, prefix)
		if !found {
			return false
		}
		if len(rest)-len(strings.TrimLeft(rest, secretLetters)) >= leastLetters {
			return true
		}
		text = rest
	}
}

// store.NewSecret writes so many of these behind a prefix.
const (
	secretLetters = "abcdefghijklmnopqrstuvwxyz234567"
	leastLetters  = 32
)

func isSecret(s string) bool {
	return strings.HasPrefix(s, store.KeySecretPrefix) || strings.HasPrefix(s, store.TokenSecretPrefix)
}

// hashOf is store.HashSecret. A connection knows that of the secret that came last; whether that is still a key is not its to say.
func (c *consumerConn) hashOf(secret string) [32]byte {
	if c == nil {
		return store.HashSecret(secret)
	}
	return c.secret.value(secret, store.HashSecret)
}

// possibleKey reports whether secret can be a key, so that nothing else is hashed or looked up.
func possibleKey(secret string) bool {
	return len(secret) <= longestSecret && strings.HasPrefix(secret, store.KeySecretPrefix)
}
