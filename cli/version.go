package cli

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v3"
)

// release is set by the linker for a release: -ldflags "-X apibuilder/cli.release=1.2.3".
var release string

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func version() versionInfo {
	v := versionInfo{Version: release, Go: runtime.Version()}
	if v.Version == "" {
		v.Version = "development"
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
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
