package doctor

import (
	"context"
	"fmt"
)

// database looks at a PostgreSQL, where one is configured.
func (e *exam) database(ctx context.Context) {
	const name = "database"
	if e.Database == nil {
		return
	}
	d, err := e.Database(ctx)
	if err != nil {
		e.miss(name, "mend what is named, or the setting --database-url or --database-url-file; without one, serve uses SQLite in its data directory",
			"%v", err)
		return
	}
	found := fmt.Sprintf("PostgreSQL %s, schema %s: ", d.Server, d.Schema)
	switch {
	case d.Version == 0:
		found += "serve will make its tables"
	case d.Version < d.Newest:
		found += fmt.Sprintf("tables of version %d, which serve will bring to %d", d.Version, d.Newest)
	default:
		found += fmt.Sprintf("tables of version %d", d.Version)
	}
	if !d.Notifications {
		e.warn(name, "connect to the server itself, or by a pooler in session mode",
			"%s; no notifications arrive, as through a pooler in transaction mode, so nodes look for each other's changes twice a second", found)
		return
	}
	e.ok(name, "%s", found)
}
