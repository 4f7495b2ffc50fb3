package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"apibuilder/python-env"
)

func (a *app) envListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list environments, the one used last first", Action: a.listEnvironments, Flags: databaseFlags(),
		Description: "Needs root, and the data directory on this machine. The size of an environment counts what it shares with\n" +
			"others too; the sum at the end counts everything once.",
	}
}

// environmentOut is one line of env list and env prune.
type environmentOut struct {
	Key      string    `json:"key"`
	Python   string    `json:"python"`
	Packages int       `json:"packages"`
	Bytes    int64     `json:"bytes"`
	Users    []string  `json:"users"`
	Created  time.Time `json:"created_at"`
	LastUsed time.Time `json:"last_used_at"`
	Broken   string    `json:"broken,omitempty"`
	Reason   string    `json:"reason,omitempty"` // why it goes: age, size, broken
}

type environmentsOut struct {
	Environments []environmentOut `json:"environments"`
	DiskBytes    int64            `json:"disk_bytes"`  // of all environments together
	CacheBytes   int64            `json:"cache_bytes"` // of uv's cache
}

func (e *environments) out(i pythonenv.Info, reason string) environmentOut {
	return environmentOut{
		Key: i.Key, Python: i.Python, Packages: i.Packages, Bytes: i.Bytes, Users: append([]string{}, e.users[i.Key]...),
		Created: i.Created, LastUsed: i.LastUsed, Broken: i.Broken, Reason: reason,
	}
}

func (a *app) listEnvironments(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	e, err := a.environments(ctx, cmd, "env list")
	if err != nil {
		return err
	}
	all, err := e.builder.List()
	if err != nil {
		return err
	}
	out := environmentsOut{Environments: []environmentOut{}}
	for _, i := range all {
		out.Environments = append(out.Environments, e.out(i, ""))
	}
	if out.DiskBytes, out.CacheBytes, err = e.builder.DiskBytes(); err != nil {
		return err
	}
	return a.show(cmd, out, func(w io.Writer) {
		environmentRows(w, out.Environments)
		fmt.Fprintf(w, "%d environments, %s on the disk; uv's cache %s\n", len(all), mib(out.DiskBytes), mib(out.CacheBytes))
	})
}

func environmentRows(w io.Writer, all []environmentOut) {
	row(w, "KEY", "PYTHON", "PACKAGES", "SIZE", "USERS", "LAST USED", "")
	for _, e := range all {
		note := e.Reason
		if e.Broken != "" {
			note = "broken: " + oneLine(e.Broken)
		}
		row(w, e.Key[:12], e.Python, e.Packages, mib(e.Bytes), len(e.Users), timeText(e.LastUsed), note)
	}
}

func mib(bytes int64) string { return fmt.Sprintf("%.1fM", float64(bytes)/(1<<20)) }
