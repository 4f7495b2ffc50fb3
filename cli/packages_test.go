package cli

import (
	"reflect"
	"testing"

	"apibuilder/admin"
)

func TestDiffPackages(t *testing.T) {
	from := admin.VersionEnvironment{Python: "3.11.2", Packages: []admin.Package{{Name: "a", Version: "1"}, {Name: "b", Version: "1"}, {Name: "c", Version: "1"}}}
	to := admin.VersionEnvironment{Python: "3.11.2", Packages: []admin.Package{{Name: "b", Version: "1"}, {Name: "c", Version: "2"}, {Name: "d", Version: "1"}}}
	want := packageDiff{
		Added: []admin.Package{{Name: "d", Version: "1"}}, Removed: []admin.Package{{Name: "a", Version: "1"}},
		Changed: []changed{{"c", "1", "2"}},
	}
	if got := diffPackages(from, to); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	from.Python = "3.10.1"
	if got := diffPackages(from, to); got.Python == nil || got.Python.From != "3.10.1" {
		t.Errorf("%+v", got.Python)
	}
}

func TestFilesAreToldFromAPIs(t *testing.T) {
	for arg, file := range map[string]bool{
		"resize": false, "resize@3": false, "api_q3f5abcdefghijkl": false, "requirements.txt": true, "./requirements": true,
		"/tmp/x": true, "-": true, "app.py": true, "Upper": true,
	} {
		if isFileName(arg) != file {
			t.Errorf("%s: %t", arg, !file)
		}
	}
}
