package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/admin/client"
	"apibuilder/certificate"
	"apibuilder/doctor"
	"apibuilder/egress/netns"
	"apibuilder/python-env"
	"apibuilder/sandbox/cgroup"
	"apibuilder/sandbox/nsjail"
	"apibuilder/store"
	"apibuilder/store/postgres"
	"apibuilder/toolchain"
)

const (
	indexPatience  = 3 * time.Second
	serverPatience = 3 * time.Second
	// databasePatience is enough to learn that nobody answers, and that no notifications arrive.
	databasePatience = 10 * time.Second
	// neededProject is in every environment, so every index must have it.
	neededProject = "fastapi"
)

func (a *app) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what this machine has and lacks of what serve needs, and what to do about it",
		Description: "Changes nothing. Takes the settings of serve, from flags, the environment and the configuration file. Exits\n" +
			"with 1 when something is missing without which serve would not start or programs would not run. Whether\n" +
			"the walls hold is shown by sandbox test.",
		Flags:  append(settingFlags(true), &cli.BoolFlag{Name: "offline", Usage: "do not ask the package index"}),
		Action: a.doctor,
	}
}

func (a *app) doctor(ctx context.Context, cmd *cli.Command) error {
	options, err := serveOptionsOf(cmd)
	if err != nil {
		return err
	}
	if options.dataDir, err = filepath.Abs(options.dataDir); err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	report := doctor.Examine(ctx, thisHost(options), doctor.Settings{
		DataDir: options.dataDir, Listen: options.listen, AdminListen: options.adminListen,
		TLSListen: options.edge.listenTLS, RedirectListen: options.edge.listenRedirect, MetricsListen: options.metricsListen,
		FirstUID: options.host.uids.First, LastUID: options.host.uids.Last, MaxSandboxes: options.maxSandboxes,
		DefaultMemory: options.limits.Grant(store.Plan{}, store.Limits{}).Limits.MemoryBytes, Offline: cmd.Bool("offline"),
		Egress: options.host.network,
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := a.show(cmd, report, func(w io.Writer) { describeReport(w, report) }); err != nil {
		return err
	}
	if !report.OK {
		return errReported
	}
	return nil
}

// thisHost brings what the packages know of this machine.
func thisHost(o serveOptions) doctor.Host {
	h := doctor.Kernel()
	h.Network = func() error {
		n, err := netns.New()
		if err != nil {
			return err
		}
		return n.Close()
	}
	h.Auditd = nsjail.Auditd
	h.ControlGroups = func() (doctor.ControlGroups, error) {
		d, err := cgroup.Describe("/")
		return doctor.ControlGroups(d), err
	}
	h.Interpreters = func(ctx context.Context) []doctor.Interpreter { return interpreters(ctx, o) }
	h.Tools = func(ctx context.Context) ([]doctor.Tool, error) {
		found, err := toolchain.Look(ctx, filepath.Join(o.dataDir, "tools"))
		var tools []doctor.Tool
		for _, f := range found {
			tools = append(tools, doctor.Tool(f))
		}
		return tools, err
	}
	h.Index = func() (string, error) {
		index, err := toolchain.ConfiguredIndex()
		return index.String(), err
	}
	h.Reach = func(ctx context.Context) error {
		index, err := toolchain.ConfiguredIndex()
		if err != nil {
			return err
		}
		return toolchain.Reach(ctx, index, neededProject, indexPatience)
	}
	if url := o.database.reveal(); url != "" {
		h.Database = func(ctx context.Context) (doctor.Database, error) {
			ctx, cancel := context.WithTimeout(ctx, databasePatience)
			defer cancel()
			found, err := postgres.Look(ctx, url)
			return doctor.Database(found), err
		}
	}
	if edge := o.edge; edge.certFile != "" {
		h.Certificate = func() error {
			_, err := certificate.Open(edge.certFile, edge.keyFile, zap.NewNop())
			return err
		}
	}
	h.Server = func(ctx context.Context) (doctor.Server, bool) { return runningServer(ctx, o.dataDir) }
	return h
}

// interpreters asks a builder that is never started, so that no directory is made.
func interpreters(ctx context.Context, o serveOptions) []doctor.Interpreter {
	builder := pythonenv.New(pythonenv.Config{
		Dir: filepath.Join(o.dataDir, "envs"), BuildUID: o.host.uids.First, BuildGID: o.host.uids.First,
	})
	var all []doctor.Interpreter
	for _, i := range builder.Interpreters(ctx) {
		all = append(all, doctor.Interpreter{Version: i.Version, Path: i.Path, Unusable: i.Unusable})
	}
	return all
}

// runningServer asks the data directory's socket.
func runningServer(ctx context.Context, dir string) (doctor.Server, bool) {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	var info admin.ServerInfo
	if err := client.Local(dir).Call(ctx, "GET", client.Path("server"), nil, &info); err != nil {
		return doctor.Server{}, false
	}
	return doctor.Server{PID: info.PID, Listen: info.Listen, AdminListen: info.AdminListen}, true
}

// reportLine puts the text behind the status and the name.
const reportLine = "%-8s %-18s %s\n"

func describeReport(w io.Writer, r doctor.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, reportLine, f.Status, f.Name, oneLine(f.Found))
		if f.Remedy != "" {
			fmt.Fprintf(w, reportLine, "", "", "-> "+oneLine(f.Remedy))
		}
	}
	warnings := r.Count(doctor.Warning)
	if r.OK {
		fmt.Fprintf(w, "\nNothing is missing that serve needs; %s.\n", counted(warnings, "warning"))
		return
	}
	fmt.Fprintf(w, "\n%s missing: serve or the programs would not run; %s.\n", counted(r.Count(doctor.Missing), "thing"),
		counted(warnings, "warning"))
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
