package adopt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"apibuilder/deploy"
	"apibuilder/python-env"
	"apibuilder/store"
)

// Kinds of a Finding.
const (
	BadID           = "bad_id"           // the row cannot have an address here
	BadRow          = "bad_row"          // empty, too large, or not text
	SyntaxError     = "syntax_error"     // it is no Python
	NoApp           = "no_app"           // it defines no application
	BadRequirements = "bad_requirements" // a line that is refused
	MissingPackage  = "missing_package"  // an import that no requirement seems to bring
	Inactive        = "inactive"         // the old platform does not serve it, so neither is it served here
)

// Finding is one thing about a row. Blocking ones keep it from serving; the others may.
type Finding struct {
	Kind     string `json:"kind"`
	Blocking bool   `json:"blocking"`
	Message  string `json:"message"`
	Remedy   string `json:"remedy"`
}

// Report is what Check found of one row.
type Report struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Works    bool      `json:"works"` // nothing found that blocks
	Findings []Finding `json:"findings"`
}

// Check says of each row what would not work here, without running it and without changing anything. python is an interpreter of the
// version that programs get, allow what the server lets authors require. Wheels that are named by path are looked for on this machine;
// what only the package index knows, whether there is such a version or a wheel of it, is not looked at.
func Check(ctx context.Context, python string, allow pythonenv.Allow, rows []store.Row) ([]Report, error) {
	var codes []string
	for _, row := range rows {
		if deployable(row) == nil && !slices.Contains(codes, row.Code) {
			codes = append(codes, row.Code)
		}
	}
	found, err := inspectAll(ctx, python, codes)
	if err != nil {
		return nil, fmt.Errorf("read the programs: %w", err)
	}
	with := map[string]int{} // rows with an id
	for _, row := range rows {
		with[row.ID]++
	}
	var reports []Report
	for _, row := range rows {
		r := Report{ID: row.ID, Name: row.Name, Findings: findings(row, found[row.Code], allow)}
		if n := with[row.ID]; n > 1 && usableID(row.ID) == nil {
			same := Finding{BadID, true, fmt.Sprintf("%d rows have the id %.40q, and one API can have it", n, row.ID), "give each row an id of its own"}
			r.Findings = append([]Finding{same}, r.Findings...)
		}
		r.Works = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Blocking })
		reports = append(reports, r)
	}
	return reports, nil
}

// deployable is what a deploy of the row refuses before anything is built, nil: nothing.
func deployable(row store.Row) *deploy.Error {
	e, _ := errors.AsType[*deploy.Error](request(row, store.Version{}, "").Check())
	return e
}

func findings(row store.Row, found inspection, allow pythonenv.Allow) []Finding {
	all := []Finding{}
	if bad := usableID(row.ID); bad != nil {
		all = append(all, Finding{BadID, true, bad.Error(), "give the row another id"})
	}
	if !row.Active {
		all = append(all, Finding{Inactive, false, "the row is not active, so it is not served", "set is_active"})
	}
	if bad := deployable(row); bad != nil {
		return append(all, Finding{BadRow, true, bad.Message, bad.Remedy})
	}
	names, err := request(row, store.Version{}, "").Names(allow)
	if bad, ok := errors.AsType[*deploy.Error](err); ok {
		all = append(all, Finding{BadRequirements, true, bad.Message, bad.Remedy})
	}
	switch {
	case found.Syntax != "":
		return append(all, Finding{SyntaxError, true, "the code is no Python of this version: " + found.Syntax, "mend that line"})
	case !found.App:
		all = append(all, Finding{NoApp, true, "the code defines no application", "give it a line like `app = FastAPI()` at its top level"})
	}
	if err == nil {
		all = append(all, missing(found.Imports, names)...)
	}
	return all
}

// missing are imports that no requirement seems to bring. A package may be brought by another one, so they do not block.
func missing(imports map[string]int, names []string) []Finding {
	var all []Finding
	for module, line := range imports {
		if strings.HasPrefix(module, ".") {
			all = append(all, Finding{
				MissingPackage, true, fmt.Sprintf("line %d imports %s, a file beside the program", line, module),
				"put everything into one file, or into a package of the index",
			})
			continue
		}
		wanted := projectsOf(module)
		if !slices.ContainsFunc(wanted, func(p string) bool { return slices.Contains(names, p) }) {
			all = append(all, Finding{
				MissingPackage, false,
				fmt.Sprintf("line %d imports %s, and no line of the requirements names its package", line, module),
				fmt.Sprintf("add %s to the requirements, unless another package brings it", wanted[0]),
			})
		}
	}
	slices.SortFunc(all, func(a, b Finding) int { return strings.Compare(a.Message, b.Message) })
	return all
}
