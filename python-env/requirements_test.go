package pythonenv

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

var sum = "sha256:" + strings.Repeat("ab", 32)

func TestParseRequirements(t *testing.T) {
	cases := map[string]string{ // text -> what it comes to, joined by |
		"":                                 "",
		"\ufeffPillow==9.5.0\r\nflask\r\n": "pillow==9.5.0|flask",
		"# all\n  requests >= 2 , < 3  # why\n\nurl#x":                                     "!4",
		"zope.interface[Foo,bar_x] ~= 5.0; python_version >= \"3.9\" and os_name=='posix'": "zope-interface[bar-x,foo]~=5.0 ; python_version >= \"3.9\" and os_name=='posix'",
		"six == \\\n 1.16.0 \\\r\n   --hash=" + sum + " \\\n --hash " + sum:                "six==1.16.0",
		"A_b.-C (>=1)":             "a-b-c>=1",
		"x==1.*\ny===1!2+local\nz": "x==1.*|y===1!2+local|z",
		"a \\\n# comment \\\nb":    "a|b",
		"-e .":                     "!1",
		"a\n--editable=git+x":      "!2",
		"a\n\n\\\n -r other.txt":   "!3",
	}
	for text, want := range cases {
		reqs, err := parseRequirements(text)
		var e *BuildError
		if errors.As(err, &e) {
			if want == "" || want[0] != '!' || string(rune('0'+e.Line)) != want[1:] {
				t.Errorf("%q: refused at line %d: %v; want %s", text, e.Line, e, want)
			}
			continue
		}
		var texts []string
		for _, r := range reqs {
			texts = append(texts, r.text)
		}
		if got := strings.Join(texts, "|"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestParseRequirementsKeepsHashesAndLines(t *testing.T) {
	reqs, err := parseRequirements("a\n\nb==1 \\\n  --hash=" + sum + "\nc")
	if err != nil || len(reqs) != 3 {
		t.Fatal(reqs, err)
	}
	if reqs[1].line != 3 || len(reqs[1].hashes) != 1 || reqs[1].hashes[0] != sum || reqs[2].line != 5 {
		t.Errorf("%+v", reqs)
	}
}

func TestParseRequirementsRefusals(t *testing.T) {
	cases := map[string]string{ // line -> what the message or remedy says
		"-e .": "--?e|editable", "--editable x": "editable", "-eother": "-e ", "-r x.txt": "other file", "-rx.txt": "-r ",
		"--requirement=x": "other file", "-c x": "versions", "--index-url https://u:p@x": "operator", "-i https://x": "operator",
		"--extra-index-url=x": "operator", "--extra-index=x": "operator", "--find-links /x": "operator", "-f x": "operator",
		"--no-index": "operator", "--trusted-host x": "operator", "--no-binary :all:": "wheels", "--pre": "pre-release",
		"a --global-option=x": "hash", "a --hash=md5:1": "sha256", "a --hash=sha256:AB": "sha256", "a -e .": "-e",
		"a ; python_version>'3' --config-settings=x": "hash",
		"./x": "path", "../x": "path", "/x": "path", "~/x": "path", `C:\x`: "path", "file:///x": "path", "file:x": "path",
		"x.whl": "file", "x-1.0.tar.gz": "file", "dir/x": "file", "x.ZIP[a]": "not a requirement|file",
		"https://x/y.whl": "address", "x @ https://y": "address", "x@file:///y": "address", "x[a] @ y": "address",
		"git+https://x": "repository", "x==${V}": "expanded", "x==%HOME%": "expanded|not a requirement",
		"x = 1": "not a requirement", "x==1 y": "not a requirement", "x==": "not a requirement", "[a]": "not a requirement",
		"x (>=1": "not a requirement", "x\x00": "control", "x\x1b[31m": "control", "päckage": "not a requirement",
		"x; a$(b)": "not a requirement", "x;": "not a requirement", "\xff": "UTF-8", "'x'": "not a requirement",
	}
	for text, want := range cases {
		_, err := parseRequirements("ok\n" + text)
		var e *BuildError
		if !errors.As(err, &e) || e.Reason != ReasonRefused || e.Line != 2 && want != "UTF-8" {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if !regexp.MustCompile(want).MatchString(e.Message + " " + e.Remedy) {
			t.Errorf("%q: %v; want %q in it", text, e, want)
		}
		if e.Remedy == "" {
			t.Errorf("%q: no remedy", text)
		}
		if strings.Contains(e.Error(), "u:p@") {
			t.Errorf("%q: %v shows credentials", text, e)
		}
	}
}

func TestParseRequirementsBounds(t *testing.T) {
	if _, err := parseRequirements(strings.Repeat("a\n", maxRequirementsLines)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{strings.Repeat("a\n", maxRequirementsLines+1), strings.Repeat("a", maxRequirementsBytes+1)} {
		if _, err := parseRequirements(text); err == nil {
			t.Errorf("%d bytes are accepted", len(text))
		}
	}
}

func TestWithRuntimeOverridesNothing(t *testing.T) {
	reqs, err := parseRequirements("FastAPI==0.95.0\nuvicorn[standard]\nPython_Multipart")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, r := range withRuntime(reqs) {
		texts = append(texts, r.text)
	}
	want := "fastapi==0.95.0 httptools python-multipart uvicorn[standard] uvloop websockets"
	if got := strings.Join(texts, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := len(withoutOptional(withRuntime(reqs))); n != 4 {
		t.Errorf("%d are left without the optional ones", n)
	}
}

func FuzzParseRequirements(f *testing.F) {
	for _, seed := range []string{
		"a==1", "-e .", "a[b,c]>=1,<2 ; x=='y' --hash=" + sum, "a \\\n# b \\\nc", "\ufeffa\r\n", "a @ b", "${X}", "a;'--x'", "a(>1)",
	} {
		f.Add(seed)
	}
	shape := regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(\[[a-z0-9,-]+\])?([=!<>~][A-Za-z0-9.,_*+!=<>~-]*)?( ; [A-Za-z0-9_.,*+!~<>=()"' -]+)?$`)
	f.Fuzz(func(t *testing.T, text string) {
		reqs, err := parseRequirements(text)
		var e *BuildError
		if err != nil && (!errors.As(err, &e) || e.Reason != ReasonRefused || e.Message == "" || e.Remedy == "") {
			t.Fatalf("%v", err)
		}
		for _, r := range reqs {
			if !shape.MatchString(r.text) {
				t.Fatalf("%q comes from %q", r.text, text)
			}
			again, err := parseRequirements(r.text)
			if err != nil || len(again) != 1 || again[0].text != r.text || again[0].name != r.name {
				t.Fatalf("%q is not read as itself: %v, %v", r.text, again, err)
			}
		}
	})
}
