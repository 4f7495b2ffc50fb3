package cli

import (
	"bytes"
	"strings"
	"testing"

	"apibuilder/doctor"
)

func TestReportIsOnePageThatIsHarmless(t *testing.T) {
	report := doctor.Report{Findings: []doctor.Finding{
		{Name: "python", Status: doctor.Missing, Found: "\x1b[31mline\nbreak", Remedy: "install\tit"},
		{Name: "disk", Status: doctor.Warning, Found: "small", Remedy: "free some"},
		{Name: "root", Status: doctor.OK, Found: "yes"},
	}}
	var out bytes.Buffer
	describeReport(&out, report)
	want := strings.Join([]string{
		`missing  python             \x1b[31mline break`,
		`                            -> install it`,
		`warning  disk               small`,
		`                            -> free some`,
		`ok       root               yes`,
		``,
		`1 thing missing: serve or the programs would not run; 1 warning.`,
		``,
	}, "\n")
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	describeReport(&out, doctor.Report{OK: true})
	if out.String() != "\nNothing is missing that serve needs; no warnings.\n" {
		t.Fatal(out.String())
	}
}

func TestDoctorTakesTheSettingsOfServe(t *testing.T) {
	for _, args := range [][]string{{"doctor", "x"}, {"doctor", "--uid-range", "1-2"}, {"doctor", "--config", "/nowhere/x.toml"}} {
		if code, stdout, stderr := run(t, args...); code != exitUsage || stderr == "" || stdout != "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}
