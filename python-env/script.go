package pythonenv

import (
	"fmt"
	"regexp"
	"strings"
)

// maxScript is the most bytes of script metadata.
const maxScript = 64 << 10

// Script is what a program says of its needs in a comment at its top: inline script metadata, PEP 723.
type Script struct {
	Line           int      // of the code where the comment begins, from 1
	Dependencies   []string // as a requirements text has them, one a line
	RequiresPython string   // a version specifier like ">=3.10", see PEP 440; may be empty
}

// Requirements is the text of a requirements file with the dependencies.
func (s Script) Requirements() string { return requirementsText(s.Dependencies) }

func requirementsText(dependencies []string) string {
	if len(dependencies) == 0 {
		return ""
	}
	return strings.Join(dependencies, "\n") + "\n"
}

var (
	scriptStart = regexp.MustCompile(`^# /// ([A-Za-z0-9-]+)$`)
	controls    = regexp.MustCompile(`[\x00-\x1f\x7f]`)
)

// ReadScript returns the metadata of a program, nil when there is none. Its error is a *BuildError that names the line.
func ReadScript(code string) (*Script, error) {
	line, text, err := scriptBlock(code)
	if line == 0 || err != nil {
		return nil, err
	}
	var meta struct {
		Dependencies   []string `toml:"dependencies"`
		RequiresPython string   `toml:"requires-python"`
	}
	if err := decodeTOML(text, maxScript, &meta); err != nil {
		return nil, scriptError(line, err.Error())
	}
	if wrong := wrongNeeds(meta.Dependencies, meta.RequiresPython); wrong != "" {
		return nil, scriptError(line, wrong)
	}
	return &Script{Line: line, Dependencies: meta.Dependencies, RequiresPython: meta.RequiresPython}, nil
}

// wrongNeeds says what is wrong with what a program says of its needs; nothing when it can be a requirements text.
func wrongNeeds(dependencies []string, requiresPython string) string {
	for i, d := range dependencies {
		// A line of its own would be read as more than this dependency says.
		if controls.MatchString(d) || strings.HasSuffix(d, `\`) {
			return fmt.Sprintf("has a dependency number %d of more than one line", i+1)
		}
	}
	if requiresPython != "" {
		if _, err := parsePython(requiresPython); err != nil {
			return fmt.Sprintf("requires Python %s, which is no version specifier", quoted(requiresPython))
		}
	}
	return ""
}

func scriptError(line int, what string) error {
	return &BuildError{
		Reason:  ReasonRefused,
		Message: fmt.Sprintf("the script metadata at line %d of the program %s", line, what),
		Remedy:  `write it as in PEP 723, for example: dependencies = ["pillow==10.4.0"]`,
	}
}

// scriptBlock finds the comment of type "script" and returns its text without the comment signs. A block ends with the last
// "# ///" before something that is no comment; one without an end is none.
func scriptBlock(code string) (line int, text string, err error) {
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(code, "\ufeff"), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		m := scriptStart.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		end := i
		for j := i + 1; j < len(lines) && (lines[j] == "#" || strings.HasPrefix(lines[j], "# ")); j++ {
			if lines[j] == "# ///" {
				end = j
			}
		}
		if end == i {
			continue
		}
		if m[1] == "script" {
			if line > 0 {
				return 0, "", scriptError(i+1, fmt.Sprintf("is the second one, after that at line %d", line))
			}
			var content strings.Builder
			for _, l := range lines[i+1 : end] {
				content.WriteString(strings.TrimPrefix(strings.TrimPrefix(l, "#"), " ") + "\n")
			}
			line, text = i+1, content.String()
		}
		i = end
	}
	return line, text, nil
}
