package store

import (
	"fmt"
	"strings"
)

// Dialect is what drivers write differently in the statements of SumFills.
type Dialect struct {
	Prefix      string // of the names of tables
	Least, Most string // functions of two numbers
	Sum         func(expression string) string
}

// SumFills are the statements that make what a backup of an older schema lacks of sums and last uses: each fills a table that is empty from
// what there is, as the migration did that made the table. Of a store that has them they change nothing.
func SumFills(d Dialect) []string {
	var ofRecords, ofSums []string
	for _, column := range strings.Split(SumColumns, ", ")[4:] {
		ofRecords = append(ofRecords, d.Sum(fmt.Sprintf("%s(%s(u.%s, 0), %d)", d.Least, d.Most, column, int64(mostSummed))))
	}
	for column := range strings.SplitSeq(SumColumns, ", ") {
		ofSums = append(ofSums, d.Sum(column))
	}
	table := func(name string) string { return d.Prefix + name }
	records := func(name string, micros int64) string {
		return `INSERT INTO ` + table(name) + ` (start, api_id, key_id, user_id, ` + SumColumns + `)
			SELECT u.time - u.time % ` + fmt.Sprint(micros) + `, u.api_id, u.key_id, coalesce(a.user_id, ''), count(*),
				count(*) FILTER (WHERE NOT (u.status = 429 AND u.error <> '')), count(*) FILTER (WHERE u.status BETWEEN 400 AND 499),
				count(*) FILTER (WHERE u.status >= 500), ` + strings.Join(ofRecords, ", ") + `
			FROM ` + table("usage") + ` u LEFT JOIN ` + table("apis") + ` a ON a.id = u.api_id
			WHERE NOT EXISTS (SELECT 1 FROM ` + table("usage_days") + `) GROUP BY 1, 2, 3, 4`
	}
	sums := func(name, from, by, and string) string {
		return `INSERT INTO ` + table(name) + ` (` + by + and + `, ` + SumColumns + `) SELECT ` + by + strings.ReplaceAll(and, "route", "''") + `, ` +
			strings.Join(ofSums, ", ") + ` FROM ` + table(from) + ` WHERE NOT EXISTS (SELECT 1 FROM ` + table(name) + `) GROUP BY ` + by
	}
	const hour = 3600 * 1000 * 1000
	return []string{
		records("usage_hours", hour), records("usage_days", 24*hour), // the hours first: where there are days, they were removed
		sums("usage_totals", "usage_hours", "start", ""), sums("usage_routes", "usage_days", "start, api_id, user_id", ", route"),
		`INSERT INTO ` + table("key_uses") + ` (key_id, last_used_at) SELECT key_id, max(time) FROM ` + table("usage") + `
			WHERE key_id IN (SELECT id FROM ` + table("keys") + `) AND NOT EXISTS (SELECT 1 FROM ` + table("key_uses") + `) GROUP BY key_id`,
	}
}
