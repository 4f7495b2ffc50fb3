package pythonenv

import (
	"regexp"
	"strings"
)

// Import is one module that a program names in an import statement.
type Import struct {
	Module  string   // "google.cloud"
	Names   []string // what is taken from it: modules or not
	Line    int      // from 1
	Lazy    bool     // in a function: it matters when that is called
	Guarded bool     // in a try, an if or the like: the program may do without it, or never come there
}

// Imports lists what a program imports by statements, in their order. Nothing of the program runs and no interpreter reads
// it: this is a scanner of logical lines (Python's reference, 2.1.5), linear in the text. What it does not understand it
// leaves out, and imports by other means it does not see, so it is good for advice and for nothing else.
func Imports(code string) []Import {
	var all []Import
	var blocks []block
	s := &lineScanner{text: code, line: 1}
	for s.scan() {
		for len(blocks) > 0 && blocks[len(blocks)-1].indent >= s.indent {
			blocks = blocks[:len(blocks)-1]
		}
		rest := s.logical
		if kind, body, ok := header(rest); ok {
			inside := block{indent: s.indent, kind: kind}
			all = appendImports(all, body, s.first, append(blocks[:len(blocks):len(blocks)], inside))
			blocks = append(blocks, inside)
			continue
		}
		all = appendImports(all, rest, s.first, blocks)
	}
	return all
}

// block is a compound statement that lines are in.
type block struct {
	indent int
	kind   blockKind
}

type blockKind int

const (
	plainBlock blockKind = iota // class: runs where it stands
	guardBlock                  // try, if, with, loops and what belongs to them
	lazyBlock                   // def
)

var headers = map[string]blockKind{
	"class": plainBlock, "def": lazyBlock,
	"try": guardBlock, "except": guardBlock, "else": guardBlock, "finally": guardBlock, "if": guardBlock, "elif": guardBlock,
	"with": guardBlock, "for": guardBlock, "while": guardBlock, "match": guardBlock, "case": guardBlock,
}

var firstWord = regexp.MustCompile(`^[a-z]+\b`)

// header recognises the first line of a compound statement and returns what follows its colon on the same line.
func header(line string) (kind blockKind, body string, ok bool) {
	if after, async := strings.CutPrefix(line, "async "); async {
		line = strings.TrimSpace(after)
	}
	kind, ok = headers[firstWord.FindString(line)]
	if !ok {
		return 0, "", false
	}
	depth := 0
	for i, c := range line {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ':':
			if depth == 0 && !strings.HasPrefix(line[i:], ":=") {
				return kind, strings.TrimSpace(line[i+1:]), true
			}
		}
	}
	return 0, "", false // `match = 1` and the like
}

var (
	identifier = `[\pL_][\pL\pN_]*`
	dotted     = identifier + `(?:\s*\.\s*` + identifier + `)*`
	importLine = regexp.MustCompile(`^import\s+(.+)$`)
	fromLine   = regexp.MustCompile(`^from\s+(` + dotted + `)\s+import\s*(.+)$`)
	imported   = regexp.MustCompile(`^(` + dotted + `)(?:\s+as\s+` + identifier + `)?$`)
	spaces     = regexp.MustCompile(`\s+`)
)

// appendImports reads simple statements, separated by semicolons.
func appendImports(all []Import, statements string, line int, blocks []block) []Import {
	if !strings.Contains(statements, "import") {
		return all
	}
	at := Import{Line: line}
	for _, b := range blocks {
		at.Lazy = at.Lazy || b.kind == lazyBlock
		at.Guarded = at.Guarded || b.kind == guardBlock
	}
	for _, statement := range strings.Split(statements, ";") {
		statement = strings.TrimSpace(statement)
		if m := fromLine.FindStringSubmatch(statement); m != nil {
			one := at
			one.Module, one.Names = spaces.ReplaceAllString(m[1], ""), importedNames(strings.Trim(m[2], "() \t\n"))
			all = append(all, one)
		} else if m := importLine.FindStringSubmatch(statement); m != nil {
			for _, module := range importedNames(m[1]) {
				one := at
				one.Module = module
				all = append(all, one)
			}
		}
	}
	return all
}

func importedNames(list string) []string {
	var names []string
	for _, item := range strings.Split(list, ",") {
		if m := imported.FindStringSubmatch(strings.TrimSpace(item)); m != nil {
			names = append(names, spaces.ReplaceAllString(m[1], ""))
		}
	}
	return names
}

// lineScanner cuts a program into logical lines, without their comments and without what is in their strings.
type lineScanner struct {
	text string
	at   int
	line int // of what comes next

	logical string
	first   int // line where it begins
	indent  int // columns before it; a tab counts as 8, as tabs and spaces are not mixed in a program that compiles
}

// scan reads the next logical line that is not empty, and reports whether there was one.
func (s *lineScanner) scan() bool {
	for s.at < len(s.text) {
		s.first = s.line
		s.readIndent()
		s.readLogical()
		if s.logical != "" {
			return true
		}
	}
	return false
}

func (s *lineScanner) readIndent() {
	s.indent = 0
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ':
			s.indent++
		case '\t':
			s.indent += 8
		default:
			return
		}
	}
}

// readLogical reads to the line's end that is not in brackets, in a string or after a backslash.
func (s *lineScanner) readLogical() {
	var b strings.Builder
	depth := 0
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch c {
		case '\n':
			s.line++
			if depth <= 0 {
				s.logical = strings.TrimSpace(b.String())
				return
			}
			c = ' '
		case '#':
			s.skipComment()
			continue
		case '\\':
			rest := s.text[s.at:]
			if strings.HasPrefix(rest, "\n") || strings.HasPrefix(rest, "\r\n") {
				s.at += strings.IndexByte(rest, '\n') + 1
				s.line++
				c = ' '
			}
		case '"', '\'':
			s.skipString(c)
			c = '"'
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		b.WriteByte(c)
	}
	s.logical = strings.TrimSpace(b.String())
}

func (s *lineScanner) skipComment() {
	if end := strings.IndexByte(s.text[s.at:], '\n'); end >= 0 {
		s.at += end
		return
	}
	s.at = len(s.text)
}

// skipString skips to the end of a string whose first quote was read. One in single quotes ends with its line at the
// latest; the prefixes make no difference to where a string ends.
func (s *lineScanner) skipString(quote byte) {
	triple := strings.Repeat(string(quote), 3)
	long := strings.HasPrefix(s.text[s.at-1:], triple)
	if long {
		s.at += 2
	}
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '\\' && s.at+1 < len(s.text):
			if s.text[s.at+1] == '\n' {
				s.line++
			}
			s.at++
		case long && strings.HasPrefix(s.text[s.at:], triple):
			s.at += 3
			return
		case !long && c == quote:
			s.at++
			return
		case !long && c == '\n':
			return
		case c == '\n':
			s.line++
		}
		s.at++
	}
}
