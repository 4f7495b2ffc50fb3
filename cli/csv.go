package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

// showRows is show for a command that has --csv, which prints rows alone.
func showRows[T any](a *app, cmd *cli.Command, v any, rows []T, text func(w io.Writer)) error {
	if cmd.Bool("csv") {
		return writeCSV(a.stdout, rows)
	}
	return a.show(cmd, v, text)
}

// writeCSV writes structs as lines, under the names that their fields have in JSON. Fields are texts, numbers and times.
func writeCSV[T any](w io.Writer, rows []T) error {
	out := csv.NewWriter(w)
	kind := reflect.TypeFor[T]()
	var names []string
	for i := range kind.NumField() {
		name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	_ = out.Write(names) // Flush tells
	for _, one := range rows {
		v := reflect.ValueOf(one)
		var cells []string
		for i := range v.NumField() {
			cells = append(cells, csvCell(v.Field(i).Interface()))
		}
		_ = out.Write(cells)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// csvCell is a value in one cell. Text that spreadsheets would take for a formula gets an apostrophe before it, because paths and
// methods are chosen by strangers.
func csvCell(value any) string {
	switch v := value.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case *time.Time:
		if v == nil {
			return ""
		}
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			return "'" + v
		}
		return v
	}
	return fmt.Sprint(value)
}
