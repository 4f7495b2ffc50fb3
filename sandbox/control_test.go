package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"runtime"
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

// A short frame does not take a lot of memory, whatever is in it.
func TestLongListsAreCutOff(t *testing.T) {
	fill := func(before, entry, after string) []byte {
		before, after = `{"event":"started",`+before, entry+after+`}`
		return frame(before + strings.Repeat(entry+",", (maxFrame-len(before+after))/len(entry+",")) + after)
	}
	for name, c := range map[string]struct {
		frame           []byte
		routes, imports int
	}{
		"routes":  {fill(`"routes":[`, `{}`, `]`), maxRoutes, 0},
		"imports": {fill(`"imports":[`, `""`, `]`), 0, maxImports + 1},
		"methods": {fill(`"routes":[{"methods":[`, `""`, `]}]`), 1, 0},
		"twice":   {frame(`{"event":"started","imports":["a","b"],"imports":["c"]}`), 0, 1},
		"none":    {frame(`{"event":"started","imports":null,"routes":[]}`), 0, 0},
		"both":    {frame(`{"event":"started","imports":["a"],"routes":[{"path":"/"},{"path":"/b","methods":["GET"]}]}`), 2, 1},
	} {
		var e event
		var err error
		taken := allocated(func() { e, err = readEvent(bytes.NewReader(c.frame)) })
		if err != nil || len(e.Routes) != c.routes || len(e.Imports) != c.imports {
			t.Errorf("%s: %d routes, %d imports, %v", name, len(e.Routes), len(e.Imports), err)
		}
		for _, r := range e.Routes {
			if len(r.Methods) > maxMethods {
				t.Errorf("%s: %d methods", name, len(r.Methods))
			}
		}
		if taken > 8*maxFrame {
			t.Errorf("%s: a frame of %d bytes takes %d", name, len(c.frame), taken)
		}
	}
	for _, no := range []string{`5`, `{}`, `"a"`, `[5]`, `[{}]`} {
		if e, err := readEvent(bytes.NewReader(frame(`{"event":"started","imports":` + no + `}`))); err == nil {
			t.Errorf("imports %s are %q", no, e.Imports)
		}
	}
}

// allocated is how many bytes are allocated while do runs.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestEmptyListsStayLists: scripts that read what `sandbox test --json` prints go through them.
func TestEmptyListsStayLists(t *testing.T) {
	e, err := readEvent(bytes.NewReader(frame(`{"event":"started","routes":[{"path":"/ws","methods":[],"needs_input":false}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal([]Route(e.Routes))
	if want := `[{"path":"/ws","methods":[],"needs_input":false}]`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
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
		if len(e.Routes) > maxRoutes || len(e.Imports) > maxImports+1 {
			t.Errorf("%d routes, %d imports", len(e.Routes), len(e.Imports))
		}
	})
}
