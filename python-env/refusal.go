package pythonenv

import (
	"fmt"
	"regexp"
	"strings"
)

// optionRemedies say what to do instead of an option of pip, by its names.
var optionRemedies = []struct {
	names  []string
	remedy string
}{
	{[]string{"-e", "--editable"}, "put the code into the program itself, or name a package of the index"},
	{[]string{"-r", "--requirement"}, "copy the other file's lines into this one"},
	{[]string{"-c", "--constraint"}, "write the versions on the requirements themselves"},
	{
		[]string{
			"-i", "--index-url", "--extra-index-url", "--index", "--default-index", "-f", "--find-links", "--no-index",
			"--trusted-host",
		},
		"remove it: where packages come from is configured by the operator of this server",
	},
	{[]string{"--pre"}, `name the pre-release itself, for example "pydantic==3.0b1"`},
	{[]string{"--no-binary", "--only-binary", "--prefer-binary"}, "remove it: only wheels are installed here"},
}

func refused(line int, message, remedy string) *BuildError {
	return &BuildError{Reason: ReasonRefused, Message: message, Remedy: remedy, Line: line}
}

func refuseOption(n int, word string) error {
	name, _, _ := strings.Cut(word, "=")
	for _, o := range optionRemedies {
		for _, known := range o.names {
			// pip takes a short option's value without a space ("-rother.txt") and long options by their beginning.
			short := len(known) == 2 && strings.HasPrefix(name, known) && !strings.HasPrefix(name, "--")
			long := len(known) > 2 && len(name) > 4 && strings.HasPrefix(known, name)
			if name == known || short || long {
				return refused(n, fmt.Sprintf("the option %s is not allowed", known), o.remedy)
			}
		}
	}
	return refused(n, fmt.Sprintf("the option %s is not allowed", quoted(name)),
		"remove it: only --hash=sha256:... may follow a requirement")
}

var (
	drive   = regexp.MustCompile(`^[A-Za-z]:[\\/]`)
	archive = regexp.MustCompile(`(?i)\.(whl|tar\.gz|tgz|tar\.bz2|tar\.xz|zip|egg)$`)
)

// refuseForm refuses what no line may be.
func refuseForm(n int, s string) error {
	for _, r := range s {
		if r < ' ' && r != '\t' || r == 0x7f {
			return refused(n, fmt.Sprintf("the line holds the control character U+%04X", r), "remove it")
		}
	}
	switch {
	case strings.HasPrefix(s, "-"):
		return refuseOption(n, strings.Fields(s)[0])
	case expansion.MatchString(s):
		return refused(n, "environment variables are not expanded here", "write the value itself")
	}
	return nil
}

// refusePlace refuses the forms of a line that do not name a package of the index.
func refusePlace(n int, s string) error {
	head, _, _ := strings.Cut(s, ";")
	head = strings.TrimSpace(head)
	file, _, _ := strings.Cut(strings.Join(strings.Fields(head), " "), " ")
	file, _, _ = strings.Cut(file, "[")
	switch {
	case strings.HasPrefix(head, "git+"), strings.HasPrefix(head, "hg+"), strings.HasPrefix(head, "svn+"),
		strings.HasPrefix(head, "bzr+"):
		return refused(n, "a repository cannot be installed from", "name a package of the index and its version")
	case strings.HasPrefix(head, "file:"), strings.HasPrefix(head, "."), strings.HasPrefix(head, "/"),
		strings.HasPrefix(head, "~"), strings.HasPrefix(head, `\`), drive.MatchString(head):
		return refused(n, "a path cannot be installed from", "name a package of the index and its version")
	case strings.Contains(head, "://"), strings.Contains(head, "@"):
		return refused(n, "an address cannot be installed from", "name a package of the index and its version")
	case archive.MatchString(file), strings.ContainsAny(head, `/\`):
		return refused(n, "a file cannot be installed from", "name a package of the index and its version")
	}
	return nil
}

// quoted shows the beginning of an author's text on one line.
func quoted(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}
