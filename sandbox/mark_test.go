package sandbox

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const someRequest = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestMarksAreTakenOut(t *testing.T) {
	for in, want := range map[string]struct {
		text string
		mark mark
	}{
		"plain":                               {"plain", mark{}},
		"\x1e" + someRequest + ";\x1fhello":   {"hello", mark{request: someRequest}},
		"\x1e;w\x1fhello":                     {"hello", mark{level: LevelWarning}},
		"\x1e" + someRequest + ";e\x1fa":      {"a", mark{someRequest, LevelError}},
		"a\x1e" + someRequest + ";e\x1fb":     {"ab", mark{someRequest, LevelError}},
		"\x1e;w\x1fa\x1e;c\x1fb":              {"ab", mark{level: LevelWarning}},
		"\x1e;\x1f":                           {"", mark{}},
		"\x1e;x\x1fa":                         {"\x1e;x\x1fa", mark{}},
		"\x1ehello;\x1fa":                     {"\x1ehello;\x1fa", mark{}},
		"\x1e":                                {"\x1e", mark{}},
		"\x1e\x1e;d\x1fa":                     {"\x1ea", mark{level: LevelDebug}},
		"\x1e" + someRequest + ";info\x1fa":   {"\x1e" + someRequest + ";info\x1fa", mark{}},
		"\x1e" + someRequest + "0;i\x1fa":     {"\x1e" + someRequest + "0;i\x1fa", mark{}},
		"\x1e../../../etc/passwd-----;i\x1fa": {"\x1e../../../etc/passwd-----;i\x1fa", mark{}},
	} {
		if text, m := takeMarks(in); text != want.text || m != want.mark {
			t.Errorf("%q: %q %+v, want %q %+v", in, text, m, want.text, want.mark)
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add("\x1e" + someRequest + ";e\x1fa")
	f.Add("\x1e;\x1e;w\x1f\x1f")
	f.Fuzz(func(t *testing.T, text string) {
		clean, m := takeMarks(text)
		if len(clean) > len(text) || m.request != "" && !isRequestID(m.request) {
			t.Errorf("%q: %q %+v", text, clean, m)
		}
		if !strings.ContainsRune(text, markBegin) && clean != text {
			t.Errorf("%q became %q", text, clean)
		}
		if utf8.ValidString(text) && !utf8.ValidString(clean) {
			t.Errorf("%q became %q", text, clean)
		}
	})
}
