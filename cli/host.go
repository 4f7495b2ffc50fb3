package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"apibuilder/python-env"
	"apibuilder/sandbox/nsjail"
	"apibuilder/toolchain"
)

// host is what makes environments and sandboxes on this machine. serve and sandbox test use the same.
type host struct {
	tools   toolchain.Tools
	builder *pythonenv.Builder
	jail    *nsjail.BuildJail
	options hostOptions // with the user ids of sandboxes alone
	seat    seat
}

// requireRoot says why in a sentence.
func requireRoot(command string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fmt.Errorf("apibuilder %s needs root, because it makes sandboxes with users and control groups of their own: "+
		"run it with sudo", command)
}

// openHost obtains the tools and prepares the builder. The first user id of the range is for builds. place is a directory
// after which the control groups of builds are named; no other process uses it from the same seat. The caller stops the host.
func openHost(ctx context.Context, data *dataDir, place string, at seat, options hostOptions, progress func(string)) (*host, error) {
	uids, builds := options.uids, options.builds
	if uids.First == uids.Last {
		return nil, usagef("the range of user ids has only one: give one for builds and one for each sandbox")
	}
	tools, err := toolchain.Ensure(ctx, data.join("tools"), progress)
	if err != nil {
		return nil, fmt.Errorf("obtain nsjail and uv: %w", err)
	}
	index, err := toolchain.ConfiguredIndex()
	if err != nil {
		return nil, fmt.Errorf("find the package index: %w", err)
	}
	jail := nsjail.NewBuildJail(builds.applyJail(nsjail.BuildConfig{
		Nsjail: tools.Nsjail, Dir: place, Instance: at.buildGroups(place), UID: uids.First, GID: uids.First,
	}))
	if err := jail.Start(ctx); err != nil {
		return nil, err
	}
	builder := pythonenv.New(builds.apply(pythonenv.Config{
		Dir: data.join("envs"), UV: tools.UV, BuildUID: uids.First, BuildGID: uids.First, Jail: jail,
		IndexURL: index.URL, ExtraIndexes: index.Extra, CertFile: index.CertFile, FindLinks: index.FindLinks,
		Log: progress,
	}))
	if err := builder.Start(ctx); err != nil {
		return nil, errors.Join(err, jail.Stop(ctx))
	}
	options.uids.First++
	return &host{tools: tools, builder: builder, jail: jail, options: options, seat: at}, nil
}

// stop ends all builds.
func (h *host) stop(ctx context.Context) error {
	return errors.Join(h.builder.Stop(ctx), h.jail.Stop(ctx))
}

// driver makes the sandboxes of one server, whose files and control groups are named after dir.
func (h *host) driver(dir string) *nsjail.Driver {
	return nsjail.New(nsjail.Config{
		Nsjail: h.tools.Nsjail, Dir: dir, Instance: h.seat.groups(dir), Sockets: h.seat.sockets(), UIDs: h.options.uids,
		IO: h.options.io, Network: h.options.network,
	})
}
