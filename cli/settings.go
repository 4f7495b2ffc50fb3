package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v3"

	"apibuilder/sandbox/nsjail"
)

// defaultConfig is read when it is there; a file that is named must be there.
const defaultConfig = "/etc/apibuilder/config.toml"

// setting is one thing that may be set by a flag, by the environment or in the configuration file, in this order of
// precedence. The others names follow from the flag's: data-dir is APIBUILDER_DATA_DIR and data_dir.
type setting struct {
	flag   string
	value  string // default
	usage  string
	serve  bool // a flag of serve, else of every command
	toggle bool // a flag without a value
	secret bool // no flag, because command lines can be read by everybody
}

var allSettings = append([]setting{
	{flag: "data-dir", value: "/var/lib/apibuilder", usage: "`DIR` that holds everything the server keeps"},
	{flag: "server", usage: "`URL` of a management API to use instead of the data directory's socket"},
	{flag: "token", secret: true, usage: "management token for --server"},

	{flag: "database-url", serve: true, usage: "`URL` of a PostgreSQL database to keep everything in, instead of a file in the data " +
		"directory; better in the environment or in a file, because command lines can be read by everybody"},
	{flag: "database-url-file", serve: true, usage: "`FILE` that holds the database's URL"},
	{flag: "listen", serve: true, value: "127.0.0.1:8080", usage: "`ADDRESS` for consumers; port 0 takes a free one"},
	{flag: "admin-listen", serve: true, usage: "`ADDRESS` for the management API over TCP, with tokens; none if empty"},
	{flag: "metrics-listen", serve: true, usage: "`ADDRESS` for Prometheus' /metrics, without a token; none if empty"},
	{flag: "public-url", serve: true, usage: "`URL` by which consumers reach the server"},
	{flag: "uid-range", serve: true, value: nsjail.DefaultUIDs.String(), usage: "host user ids for sandboxes, `FIRST-LAST`, used by nobody else"},
	{flag: "default-memory", serve: true, usage: "memory `SIZE` of an API that asks for none, 256M"},
	{flag: "default-cpu", serve: true, usage: "CPU `CORES` of an API that asks for none, 0.5"},
	{flag: "default-pids", serve: true, usage: "processes and threads, a `NUMBER`, of an API that asks for none"},
	{flag: "max-memory", serve: true, usage: "most memory that any API gets, a `SIZE`; no bound if empty"},
	{flag: "max-cpu", serve: true, usage: "most CPU `CORES` that any API gets; no bound if empty"},
	{flag: "max-pids", serve: true, usage: "most processes and threads that any API gets, a `NUMBER`; no bound if empty"},
	{flag: "io-max", serve: true, usage: "most that a program reads and writes a second, `LIMITS` like \"/dev/vda rbps=50M wiops=200\"; no bound if empty"},
	{flag: "request-timeout", serve: true, value: "60s", usage: "`TIME` that a program may take to begin its answer"},
	{flag: "start-timeout", serve: true, value: "30s", usage: "`TIME` that a program may take to start"},
	{flag: "drain-timeout", serve: true, value: "30s", usage: "`TIME` for requests under way when a version or the server ends"},
	{flag: "idle-timeout", serve: true, value: "10m", usage: "`TIME` without a request after which a program is ended until the next, or never"},
	{flag: "max-body", serve: true, usage: "largest request body, a `SIZE`; no bound if empty"},
	{flag: "max-sandboxes", serve: true, value: "500", usage: "most programs that run at a time, a `NUMBER`"},
	{flag: "warm-memory", serve: true, usage: "memory `SIZE` for sandboxes that wait for a program, or none; an eighth of the machine's if empty"},
	{flag: "memory-reserve", serve: true, usage: "memory `SIZE` that programs leave free, at the cost of those that are idle, or none; a thirty-second of " +
		"the machine's if empty"},
	{flag: "egress-ceiling", serve: true, value: "none", usage: "most that APIs may reach outside, a `LIST` of targets like *.example.com:443, internet, or none"},
	{flag: "egress-allow-private", serve: true, usage: "targets that APIs may name though they are not public, a `LIST` like 10.1.0.0/16:5432, db.internal:5432"},
	{flag: "egress-connections", serve: true, value: "256", usage: "most connections to outside of each program at a time, a `NUMBER`"},
	{flag: "egress-rate", serve: true, value: "100", usage: "most new connections to outside of each program in a second, a `NUMBER`"},
	{flag: "egress-bandwidth", serve: true, value: "128M", usage: "most that each program sends to outside in a second, a `SIZE`, and as much that it receives"},
	{flag: "limits-without-database", serve: true, value: "local", usage: "what becomes of rate limits while a shared database is away: local, " +
		"each server enforces them by itself, or refuse, requests that have one get 503; `WORD`"},
	{flag: "log-level", serve: true, value: "info", usage: "debug, info, warn or error: `LEVEL` of the server's own log"},
	{flag: "no-example", serve: true, toggle: true, usage: "do not deploy the example when there are no APIs"},
}, slices.Concat(requestSettings, edgeSettings, usageSettings, logSettings, secretsSettings, buildSettings, traceSettings)...)

func (s setting) env() string { return "APIBUILDER_" + strings.ToUpper(s.key()) }
func (s setting) key() string { return strings.ReplaceAll(s.flag, "-", "_") }

// settingFlags are the flags of all settings that are for serve, or for every command. Their values are read through
// settings alone: the flags know neither the environment nor the file.
func settingFlags(serve bool) []cli.Flag {
	var flags []cli.Flag
	for _, s := range allSettings {
		usage := s.usage + " [$" + s.env() + "]"
		switch {
		case s.secret || s.serve != serve:
		case s.toggle:
			flags = append(flags, &cli.BoolFlag{Name: s.flag, Usage: usage})
		default:
			flags = append(flags, &cli.StringFlag{Name: s.flag, Usage: usage, DefaultText: s.value})
		}
	}
	return flags
}

func commonFlags() []cli.Flag {
	return append(settingFlags(false),
		&cli.StringFlag{Name: "config", Usage: "configuration `FILE`, TOML [$APIBUILDER_CONFIG]", DefaultText: defaultConfig},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON document on standard output"},
	)
}

// origin says where a value comes from; the greater one is the closer.
type origin int

const (
	fromDefault origin = iota
	fromFile
	fromEnv
	fromFlag
)

type value struct {
	text   string
	origin origin
	name   string // how the user wrote it, for errors
}

// settings are the values of all settings, by their flags' names.
type settings map[string]value

// configPath is where the configuration file is, and whether it was named.
func configPath(cmd *cli.Command) (path string, named bool) {
	if cmd.IsSet("config") {
		return cmd.String("config"), true
	}
	if env := os.Getenv("APIBUILDER_CONFIG"); env != "" {
		return env, true
	}
	return defaultConfig, false
}

// loadSettings brings flags, environment, configuration file and defaults together. Its errors are usage errors.
func loadSettings(cmd *cli.Command) (settings, error) {
	path, named := configPath(cmd)
	file, err := readConfig(path, named)
	if err != nil {
		return nil, err
	}
	return settingsOver(cmd, file, path)
}

// settingsOver is loadSettings with the values of a file.
func settingsOver(cmd *cli.Command, file map[string]string, path string) (settings, error) {
	out := settings{}
	for _, s := range allSettings {
		v := s.find(cmd, file, path)
		if v.text == "" && s.value != "" { // net.Listen takes an empty address for any port of all addresses
			return nil, usagef("%s is empty: leave it out for the default, %s", v.name, s.value)
		}
		out[s.flag] = v
	}
	return out, nil
}

// find takes the closest value. An empty environment variable is none.
func (s setting) find(cmd *cli.Command, file map[string]string, path string) value {
	if !s.secret && cmd.IsSet(s.flag) {
		return value{fmt.Sprint(cmd.Value(s.flag)), fromFlag, "--" + s.flag}
	}
	if text := os.Getenv(s.env()); text != "" {
		return value{text, fromEnv, s.env()}
	}
	if text, ok := file[s.key()]; ok {
		return value{text, fromFile, s.key() + " in " + path}
	}
	return value{s.value, fromDefault, "--" + s.flag}
}

func (s settings) text(flag string) string { return s[flag].text }

// closer reports whether a was set nearer to the command than b.
func (s settings) closer(a, b string) bool { return s[a].origin > s[b].origin }

// parse reads one setting that may be empty; its error names the setting as the user wrote it.
func parse[T any](s settings, flag string, read func(string) (T, error)) (T, error) {
	var zero T
	v := s[flag]
	if v.text == "" {
		return zero, nil
	}
	out, err := read(v.text)
	if err != nil {
		return zero, usagef("%s: %v", v.name, err)
	}
	return out, nil
}

// readConfig returns the file's values as text. Keys that nobody knows are errors, so that a misspelt one is not lost.
func readConfig(path string, named bool) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if !named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return nil, nil
	}
	if err != nil {
		return nil, usagef("read the configuration: %v", err)
	}
	var tree map[string]any
	if err := toml.Unmarshal(raw, &tree); err != nil {
		return nil, usagef("configuration %s: %v", path, err)
	}
	known := map[string]bool{}
	for _, s := range allSettings {
		known[s.key()] = true
	}
	out := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if !known[key] {
			return nil, usagef("configuration %s: there is no key %q; the keys are %s", path, key,
				strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		switch v := tree[key].(type) {
		case string, int64, float64, bool:
			out[key] = fmt.Sprint(v)
		default:
			return nil, usagef("configuration %s: %s must be a text, a number, true or false", path, key)
		}
	}
	return out, nil
}
