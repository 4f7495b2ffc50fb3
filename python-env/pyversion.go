package pythonenv

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// pythonRange is which Pythons will do: all of its clauses must hold. The empty one admits every Python.
type pythonRange []pythonClause

type pythonClause struct {
	operator string // ==, !=, <=, >=, <, >, ~= (PEP 440), or empty for a version as people say it: "3.11" is every 3.11.x
	version  []int
	prefix   bool // "3.11.*"
}

var pythonPart = regexp.MustCompile(`^(===|==|!=|<=|>=|~=|<|>|)\s*([0-9]{1,3}(?:\.[0-9]{1,3}){0,2})(\.\*)?$`)

// maxPythonText bounds what may be asked for, which is stored.
const maxPythonText = 200

// ValidPython returns nil for what Request.Python may be, and an error that says what it is not.
func ValidPython(text string) error {
	_, err := parsePython(text)
	return err
}

// Admits reports whether a Python of this version, "3.11.2", will do where Request.Python is want.
func Admits(want, version string) bool {
	asked, err := parsePython(want)
	return err == nil && asked.admits(version)
}

// parsePython reads "3.11", "3.11.2", or a specifier like ">=3.10,<3.13".
func parsePython(text string) (pythonRange, error) {
	var all pythonRange
	if len(text) > maxPythonText { // of spaces too: it is kept with each version
		return nil, fmt.Errorf("%s is no version of Python", quoted(text))
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		m := pythonPart.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%s is no version of Python", quoted(text))
		}
		c := pythonClause{operator: m[1], prefix: m[3] != "", version: release(m[2])}
		if c.operator == "===" {
			c.operator = "=="
		}
		if c.operator == "" && c.prefix {
			c.operator = "=="
		}
		if c.prefix && c.operator != "==" && c.operator != "!=" || c.operator == "~=" && len(c.version) < 2 {
			return nil, fmt.Errorf("%s is no version of Python", quoted(text))
		}
		all = append(all, c)
	}
	return all, nil
}

// release reads the leading numbers of a version: "3.13.0rc1" is 3.13.0.
func release(version string) []int {
	var numbers []int
	for _, part := range strings.Split(version, ".") {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		whole := end < 0
		if !whole {
			part = part[:end]
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		if numbers = append(numbers, n); !whole {
			break
		}
	}
	return numbers
}

// admits reports whether an interpreter's version will do.
func (r pythonRange) admits(version string) bool {
	v := release(version)
	for _, c := range r {
		if !c.admits(v) {
			return false
		}
	}
	return true
}

func (c pythonClause) admits(v []int) bool {
	order := compareReleases(v, c.version)
	starts := compareReleases(v[:min(len(v), len(c.version))], c.version) == 0
	switch c.operator {
	case "":
		return starts
	case "==":
		return order == 0 || c.prefix && starts
	case "!=":
		return order != 0 && (!c.prefix || !starts)
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case "<":
		return order < 0
	}
	// ~=3.10.2 is >=3.10.2, ==3.10.*
	series := c.version[:len(c.version)-1]
	return order >= 0 && compareReleases(v[:min(len(v), len(series))], series) == 0
}

// compareReleases compares number by number; what is missing is zero.
func compareReleases(a, b []int) int {
	for i := range max(len(a), len(b)) {
		var x, y int
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}
