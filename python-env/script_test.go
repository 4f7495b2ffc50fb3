package pythonenv

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestReadScript(t *testing.T) {
	code := "#!/usr/bin/env python\n# /// script\n# requires-python = \">=3.10\"\n# dependencies = [\n#   \"pillow==10.4.0\",\n#\n" +
		"#   \"requests<3 ; python_version >= '3.9'\", # why\n# ]\n# [tool.x]\n# y = 1\n# ///\nimport os\n"
	for _, text := range []string{code, strings.ReplaceAll(code, "\n", "\r\n")} {
		s, err := ReadScript(text)
		if err != nil || s == nil || s.Line != 2 || s.RequiresPython != ">=3.10" ||
			!slices.Equal(s.Dependencies, []string{"pillow==10.4.0", "requests<3 ; python_version >= '3.9'"}) {
			t.Fatalf("%+v, %v", s, err)
		}
		if reqs, err := parseRequirements(s.Requirements()); err != nil || len(reqs) != 2 {
			t.Errorf("%+v, %v", reqs, err)
		}
	}
	for _, none := range []string{
		"", "import os", "# /// script\n# x = 1\n", "# /// script\nimport os\n# ///\n", "# /// other\n# x = 1\n# ///\n", " # /// script\n # ///\n",
	} {
		if s, err := ReadScript(none); s != nil || err != nil {
			t.Errorf("%q: %+v, %v", none, s, err)
		}
	}
	// A block ends with its last closing line, as the specification has it.
	s, err := ReadScript("# /// script\n# dependencies = []\n# ///\n\n# ///\n")
	if err != nil || s == nil || s.Requirements() != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestReadScriptRefuses(t *testing.T) {
	block := func(text string) string {
		return "\n# /// script\n# " + strings.ReplaceAll(text, "\n", "\n# ") + "\n# ///\n"
	}
	for text, want := range map[string]string{
		block("dependencies = ["): "not valid", block("dependencies = 1"): "not valid",
		block(`dependencies = ["a\n-r b"]`): "more than one line", block(`dependencies = ["a \\"]`): "more than one line",
		block(`requires-python = "new"`): "no version specifier", block("") + block(""): "second one",
	} {
		_, err := ReadScript(text)
		var e *BuildError
		if !errors.As(err, &e) || e.Reason != ReasonRefused || !strings.Contains(e.Message, want) || !strings.Contains(e.Message, "at line") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestHostileMetadataCostsLittle has what a decoder that keeps whole paths makes GiB of.
func TestHostileMetadataCostsLittle(t *testing.T) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		for name, text := range hostileTOML(n) {
			for what, read := range map[string]func() error{
				"script metadata": func() error {
					_, err := ReadScript("# /// script\n# " + strings.ReplaceAll(text, "\n", "\n# ") + "\n# ///\n")
					return err
				},
				ProjectFile: func() error { _, err := ReadProject(text); return err },
			} {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := read()
				runtime.ReadMemStats(&after)
				var e *BuildError
				if !errors.As(err, &e) || e.Reason != ReasonRefused || e.Remedy == "" || !strings.Contains(e.Message, what) ||
					strings.Contains(e.Message, "not valid") {
					t.Errorf("%s of %s, %d times: %v", name, what, n, err)
				}
				if spent := (after.TotalAlloc - before.TotalAlloc) >> 20; spent > 64 {
					t.Errorf("%s of %s, %d times, cost %d MiB", name, what, n, spent)
				}
			}
		}
	}
}

func hostileTOML(n int) map[string]string {
	many := func(s string) string { return strings.Repeat(s, n) }
	all := map[string]string{
		"tables":              "x = " + many("{a=") + "1" + many("}"),
		"tables of odd names": "x = " + many(`{"}"={'}'=`) + "1" + many("}}"),
		"arrays":              "x = " + many("[") + many("]"),
		"arrays and tables":   "x = " + many("[{a=") + "1" + many("}]"),
		"tables after texts":  "y = '''#''''\nz = \"\"\"\\\\\"\"\"\"\"\"\nx = " + many("{a=") + "1" + many("}"),
		"names":               many("a.") + "b = 1",
		"quoted names":        many(`"a" . `) + "b = 1",
		"names in a table":    "x = {" + many("a.") + "b = 1}",
		"a header":            "[" + many("a.") + "b]",
		"a header of arrays":  "[[" + many("a.") + "b]]",
	}
	if n < 10_000 {
		return all
	}
	var keys strings.Builder
	for i := range n / 10 {
		fmt.Fprintf(&keys, "k%d = 1\n", i)
	}
	all["a long header"] = "[" + many("abcd") + "]\n" + keys.String()
	all["a long name"] = "x = {" + many("abcd") + " = {" + strings.ReplaceAll(keys.String(), "\n", ",") + "k = 1}}"
	return all
}

func FuzzReadScript(f *testing.F) {
	f.Add("# /// script\n# dependencies = [\"a\"]\n# ///\n")
	f.Add("# /// script\n#\n# requires-python = '>=3'\n# ///")
	f.Fuzz(func(t *testing.T, code string) {
		s, err := ReadScript(code)
		var e *BuildError
		if err != nil && (!errors.As(err, &e) || e.Message == "" || strings.Contains(e.Message, "\n")) {
			t.Fatalf("%v", err)
		}
		if s == nil {
			return
		}
		if n := strings.Count(s.Requirements(), "\n"); n != len(s.Dependencies) {
			t.Fatalf("%d lines of %d dependencies: %q", n, len(s.Dependencies), s.Requirements())
		}
	})
}

func TestPythonRanges(t *testing.T) {
	for text, want := range map[string][2]string{ // admitted, not admitted
		"": {"3.9.2 3.13.0", ""}, "3.11": {"3.11.0 3.11.9", "3.10.1 3.12.0 3.1.1"}, "3.11.2": {"3.11.2", "3.11.20 3.11.3"}, "3": {"3.9.1", "2.7.1"},
		">=3.10": {"3.10.0 3.13.0rc1", "3.9.9"}, ">=3.10,<3.12": {"3.10.1 3.11.9", "3.12.0 3.9.1"}, ">3.10": {"3.10.1 3.11.0", "3.10.0 3.9.9"},
		"~=3.10": {"3.10.0 3.13.1", "3.9.1"}, "~=3.10.2": {"3.10.2 3.10.9", "3.10.1 3.11.0"}, "==3.11.*": {"3.11.4", "3.12.0"},
		"!=3.11.*, >=3.10": {"3.10.1 3.12.0", "3.11.0 3.9.1"}, "!=3.11.2": {"3.11.1", "3.11.2"}, "<=3.11": {"3.10.9 3.11.0", "3.11.1"}, "===3.11.2": {"3.11.2", "3.11.1"},
		"3.11.*": {"3.11.1", "3.12.1"},
	} {
		r, err := parsePython(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for i, versions := range want {
			for _, v := range strings.Fields(versions) {
				if r.admits(v) != (i == 0) {
					t.Errorf("%q and %s: %t", text, v, i != 0)
				}
			}
		}
	}
	for _, bad := range []string{"x", "3.x", ">=", "3.11;", "~=3", ">=3.*", "3.11,", "=3.11", "-1", "3.11 ; rm", "1.2.3.4", "9999", strings.Repeat(" ", 1<<20)} {
		if err := ValidPython(bad); err == nil {
			t.Errorf("%.80q is valid", bad)
		}
	}
}
