package pythonenv

import (
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzTOMLScan compares the scan with what the decoder made of a text: it must not have seen fewer names, or shorter ones.
func FuzzTOMLScan(f *testing.F) {
	for _, seed := range []string{
		"a.b = {c = [{d.'e.' = 1}, {}]}\n[x.\"y\"]\nz=1\n[[q]]\nr=[[1],[2.5]]", "a = '''''' # [\nb = \"\"\"\\\"\"\"\"\"\"\nc={\n#}\nd=1,\n}",
		"a = \"\\\\\"\nb = ''\n\"\".\"\\u0001\" = 1", "a = \"\"\"\\\\\"\"\"\"\"\"\nb.c = 1", "[a]\nx=[1]\n[a.b]\ny=[{c={}}]\r\n'#'.b=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		s := &tomlScan{text: text}
		if s.run() != nil {
			return
		}
		var all map[string]any
		meta, err := toml.Decode(text, &all)
		if err != nil {
			return
		}
		sum := 0
		for _, key := range meta.Keys() {
			sum += len(key.String())
			if len(key) > maxTOMLDepth {
				t.Errorf("a key of %d names was let through", len(key))
			}
		}
		if sum > 3*s.cost { // "\e" becomes "\u001b"
			t.Errorf("the decoder's paths have %d bytes, for the scan %d", sum, s.cost)
		}
	})
}
