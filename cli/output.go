package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/urfave/cli/v3"

	"apibuilder/admin"
	"apibuilder/ratelimit"
)

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// show prints v as JSON with --json, and what text writes otherwise.
func (a *app) show(cmd *cli.Command, v any, text func(w io.Writer)) error {
	if cmd.Bool("json") {
		return writeJSON(a.stdout, v)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	text(w)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// row writes cells that a tabwriter aligns. Whatever is in them stays in one line.
func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, oneLine(fmt.Sprint(cell)))
	}
	fmt.Fprintln(w)
}

// oneLine makes text printable and keeps it in one line and one cell.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(text))
}

// indent writes untrusted text of several lines.
func indent(w io.Writer, text string) {
	for line := range strings.Lines(strings.TrimRight(printable(text), "\n")) {
		fmt.Fprint(w, "    ", strings.TrimRight(line, "\n"), "\n")
	}
}

// printable makes text harmless to a terminal: escape sequences and other control characters are written out, as are the
// characters that turn the direction of text or break lines where a reader sees no break (Unicode UAX #9, CVE-2021-42574).
// It is applied to pipes too, because what is stored from them ends on a terminal one day; --json gives the exact text.
func printable(s string) string {
	if strings.IndexFunc(s, dangerous) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !dangerous(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func dangerous(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case unicode.IsControl(r), r == 0x2028, r == 0x2029, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return r == 0x200e || r == 0x200f || r == 0x061c
}

func rateText(r *admin.Rate) string {
	if r == nil {
		return "unlimited"
	}
	per := time.Duration(r.Seconds * float64(time.Second))
	return ratelimit.Limit{Requests: r.Requests, Per: per}.String()
}

func timeText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func limitsText(l admin.Limits) string {
	return fmt.Sprintf("memory %s, cpu %g, pids %d", formatSize(l.MemoryBytes), l.CPU, l.Pids)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// rateFlag reads --rate; nil when it was not given.
func rateFlag(cmd *cli.Command) (*admin.Rate, error) {
	if !cmd.IsSet("rate") {
		return nil, nil
	}
	r, err := parseRate(cmd.String("rate"))
	if err != nil {
		return nil, usagef("--rate: %v", err)
	}
	return &admin.Rate{Requests: r.Requests, Seconds: r.Per.Seconds()}, nil
}
