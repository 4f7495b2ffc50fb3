package cli

import (
	"net/url"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"
)

// selection is the query of what --api, --since, --limit and their like select. A command need not have all of them.
func selection(cmd *cli.Command, now time.Time) (url.Values, error) {
	query := url.Values{"limit": {strconv.Itoa(cmd.Int("limit"))}}
	for flag, name := range map[string]string{"api": "api", "request": "id", "by": "by", "key": "key", "user": "user"} {
		if cmd.String(flag) != "" {
			query.Set(name, cmd.String(flag))
		}
	}
	if text := cmd.String("since"); text != "" {
		since, err := parseMoment(text, now, true)
		if err != nil {
			return nil, usagef("--since: %v", err)
		}
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	return query, nil
}
