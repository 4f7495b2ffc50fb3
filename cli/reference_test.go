package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"apibuilder/internal/pagetest"
)

// TestCommandReference keeps docs/commands.md; run it with -update after a change of commands or flags.
func TestCommandReference(t *testing.T) {
	root := new(app).root()
	var b strings.Builder
	b.WriteString("## Flags of every command\n\n")
	writeFlags(&b, root.Flags)
	for _, c := range root.Commands {
		writeCommand(&b, "apibuilder", c)
	}
	pagetest.EndsWith(t, "../docs/commands.md", "## Flags of every command\n", b.String())
}

// TestSettingReference keeps docs/settings.md.
func TestSettingReference(t *testing.T) {
	const mark = "| flag | environment | file | default | |\n"
	var b strings.Builder
	b.WriteString(mark + "|---|---|---|---|---|\n")
	for _, s := range allSettings {
		flag, value := "`--"+s.flag+"`", "none"
		if s.secret {
			flag = "none"
		}
		switch {
		case s.toggle:
			value = "`false`"
		case s.value != "":
			value = "`" + s.value + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | `%s` | %s | %s |\n", flag, s.env(), s.key(), value, cell(s.usage))
	}
	pagetest.EndsWith(t, "../docs/settings.md", mark, b.String())
}

func writeCommand(b *strings.Builder, parent string, c *cli.Command) {
	if c.Hidden {
		return
	}
	name := parent + " " + c.Name
	fmt.Fprintf(b, "\n## %s\n", name)
	if len(c.Commands) == 0 {
		fmt.Fprintf(b, "    %s\n\n", strings.Join(strings.Fields(name+" "+optionsOf(c)+" "+c.ArgsUsage), " "))
	}
	fmt.Fprintf(b, "%s.\n", upper(c.Usage))
	if c.Description != "" {
		fmt.Fprintf(b, "\n%s\n", block(c.Description))
	}
	if len(c.Flags) > 0 {
		b.WriteString("\n")
		writeFlags(b, c.Flags)
	}
	for _, below := range c.Commands {
		writeCommand(b, name, below)
	}
}

func optionsOf(c *cli.Command) string {
	if len(c.Flags) == 0 {
		return ""
	}
	return "[FLAGS]"
}

// block makes a block of a text whose lines are the author's.
func block(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// writeFlags writes a table of flags, but for the settings of serve, which have a page of their own.
func writeFlags(b *strings.Builder, flags []cli.Flag) {
	ofServe := map[string]bool{}
	for _, s := range allSettings {
		ofServe[s.flag] = s.serve
	}
	var rows []string
	settings := 0
	for _, f := range flags {
		if ofServe[f.Names()[0]] {
			settings++
			continue
		}
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		var names []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, dashes+name)
		}
		value, usage := placeholder(doc)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", strings.TrimSpace(strings.Join(names, ", ")+" "+value), defaultOf(doc), cell(usage)))
	}
	if len(rows) > 0 {
		b.WriteString("| flag | default | |\n|---|---|---|\n" + strings.Join(rows, ""))
	}
	if settings > 0 {
		if len(rows) > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "It takes %d of the [settings](settings.md) as flags.\n", settings)
	}
}

// placeholder takes what stands for the flag's value out of its usage, where it is in backquotes.
func placeholder(f cli.DocGenerationFlag) (value, usage string) {
	usage = f.GetUsage()
	before, rest, ok := strings.Cut(usage, "`")
	name, after, ok2 := strings.Cut(rest, "`")
	if ok && ok2 {
		usage, value = before+name+after, name
	} else if f.TakesValue() {
		value = "VALUE"
	}
	return value, usage
}

func defaultOf(f cli.DocGenerationFlag) string {
	if text := strings.Trim(f.GetDefaultText(), `"`); f.TakesValue() && text != "" {
		return "`" + text + "`"
	}
	return ""
}

// cell makes a text one that a table can hold.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "`", "", "<", "&lt;", "\n", " ").Replace(text)
}
