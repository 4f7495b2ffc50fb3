package sandbox

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestReadEventRefusesWhatIsNoEvent(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":        {nil, "EOF"},
		"cut off":        {frame(`{"event":"waiting"}`)[:9], "unexpected EOF"},
		"endless":        {[]byte{0xff, 0xff, 0xff, 0xff}, "more than"},
		"no JSON":        {frame("hello"), "decode"},
		"unknown event":  {frame(`{"event":"sudo"}`), "no event"},
		"unknown reason": {frame(`{"event":"failed","reason":"out_of_memory"}`), "unknown reason"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readEvent(bytes.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	e, err := readEvent(bytes.NewReader(frame(`{"event":"failed","reason":"no_app","detail":"d"}`)))
	if err != nil || e.Reason != NoApp || e.Detail != "d" {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add(frame(`{"event":"started","routes":[{"path":"/","methods":["GET"]}]}`))
	f.Add([]byte{0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := readEvent(bytes.NewReader(data))
		if err == nil && e.Event == "" {
			t.Errorf("%q became an event without a name", data)
		}
	})
}
