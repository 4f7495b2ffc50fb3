package pythonenv

import (
	_ "embed"
	"slices"
	"strings"
)

//go:embed popular.txt
var popularNames string

// popular are packages that programs often ask for, by their normalised names.
var popular = setOf(popularNames)

// nearNames returns what somebody may have meant by a package's name that does not exist: the package of a module with
// that name, else at most three popular names that differ in few letters, nearest first.
func nearNames(wrong string) []string {
	for module, name := range packageOfModule {
		if strings.EqualFold(module, wrong) || normalise(module) == normalise(wrong) {
			return []string{name}
		}
	}
	wrong = normalise(wrong)
	most := 1
	if len(wrong) > 4 {
		most = 2
	}
	type near struct {
		name     string
		distance int
	}
	var found []near
	for name := range popular {
		if d := distance(wrong, name, most); d <= most && d > 0 {
			found = append(found, near{name, d})
		}
	}
	slices.SortFunc(found, func(a, b near) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, n := range found[:min(3, len(found))] {
		names = append(names, n.name)
	}
	return names
}

// distance is how many letters have to be added, taken away, changed or swapped with the next to make b of a (the
// optimal string alignment distance); above most it may be any larger number.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	var before []int
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
