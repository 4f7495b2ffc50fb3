package store

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SumColumns are the columns of the sums' tables that are added up, apart by commas, in the order of Sum's fields. Drivers
// share their names.
const SumColumns = `requests, admitted, client_errors, server_errors, bytes_in, bytes_out, duration_us, start_wait_us, cpu_us`

// Statement is the query of a driver that adds up the rows of from, a query, as f asks for: start, API, key, user, route and then
// the sums, one row for each of what is told apart. nothing is the NULL of where a row has no start, and sum adds up a column.
func (f SumFilter) Statement(from, nothing string, sum func(column string) string) (string, error) {
	by, _, err := f.Columns()
	if err != nil {
		return "", err
	}
	cells := []string{nothing, "''", "''", "''", "''"}
	for i, column := range []string{"start", "api_id", "key_id", "user_id", "route"} {
		if slices.Contains(by, column) {
			cells[i] = column
		}
	}
	if f.By == ByDay {
		cells[0] = fmt.Sprintf("start - start %% %d", (24 * time.Hour).Microseconds())
	}
	for column := range strings.SplitSeq(SumColumns, ", ") {
		cells = append(cells, sum(column))
	}
	query := `SELECT ` + strings.Join(cells, ", ") + ` FROM (` + from + `) s`
	if f.By == ByNothing {
		return query, nil
	}
	return query + ` GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5`, nil
}
