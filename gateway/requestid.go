package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// newRequestID returns a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits. Ids sort by time.
// They are always the gateway's own, because a usage record with a known id is not counted again.
func newRequestID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails, see crypto/rand
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint32(b[0:], uint32(ms>>16))
	binary.BigEndian.PutUint16(b[4:], uint16(ms))
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	const digits = "0123456789abcdef"
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		text[at], text[at+1] = digits[b[i]>>4], digits[b[i]&0xf]
	}
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
