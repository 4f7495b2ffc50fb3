package cli

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v3"
)

// Set by the linker, see scripts/lib.sh: -ldflags "-X apibuilder/cli.release=1.2.3 -X apibuilder/cli.commit=...".
var release, commit string

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func version() versionInfo {
	v := versionInfo{Version: release, Commit: commit, Go: runtime.Version()}
	if v.Version == "" {
		v.Version = "development"
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && commit == "" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

func (a *app) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(_ context.Context, cmd *cli.Command) error {
			if _, err := arguments(cmd); err != nil {
				return err
			}
			v := version()
			return a.show(cmd, v, func(w io.Writer) { row(w, "apibuilder", v.Version, v.Commit, v.Go) })
		},
	}
}
