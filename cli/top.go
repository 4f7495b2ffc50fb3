package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"apibuilder/admin"
	"apibuilder/admin/client"
)

func (a *app) topCommand() *cli.Command {
	return &cli.Command{
		Name:  "top",
		Usage: "show what APIs do at the moment: requests, errors, memory, CPU",
		Description: "On a terminal the table, as much as fits, is shown anew until interrupted. In a pipe, or with --once, two looks an interval apart make one\n" +
			"table. The figures are those of the server that is asked. ERR/S are answers with a status from 500 on.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "one table, then end"},
			&cli.StringFlag{Name: "interval", Usage: "`TIME` between two looks", DefaultText: "2s, once 1s"},
			&cli.StringFlag{Name: "sort", Value: "requests", Usage: "the most first by `COLUMN`: " + strings.Join(topColumns(), ", ")},
		},
		Action: a.top,
	}
}

// busy is one API between two looks.
type busy struct {
	ID             string  `json:"id"`
	Name           string  `json:"name"`
	State          string  `json:"state"`
	Version        int     `json:"version"`
	Requests       float64 `json:"requests_per_second"`
	ClientErrors   float64 `json:"client_errors_per_second"`
	ServerErrors   float64 `json:"server_errors_per_second"`
	InFlight       int     `json:"in_flight"`
	Instances      int     `json:"instances"`
	MemoryBytes    int64   `json:"memory_bytes"`
	CPU            float64 `json:"cpu"` // cores
	RequestsTotal  int64   `json:"requests"`
	ServerErrTotal int64   `json:"server_errors"`
}

// sorts compare two APIs by a column, the one that is shown first before the other.
var sorts = map[string]func(x, y busy) int{
	"requests":  func(x, y busy) int { return cmp.Compare(y.Requests, x.Requests) },
	"errors":    func(x, y busy) int { return cmp.Compare(y.ServerErrors, x.ServerErrors) },
	"inflight":  func(x, y busy) int { return cmp.Compare(y.InFlight, x.InFlight) },
	"instances": func(x, y busy) int { return cmp.Compare(y.Instances, x.Instances) },
	"memory":    func(x, y busy) int { return cmp.Compare(y.MemoryBytes, x.MemoryBytes) },
	"cpu":       func(x, y busy) int { return cmp.Compare(y.CPU, x.CPU) },
	"state":     func(x, y busy) int { return cmp.Compare(x.State, y.State) },
	"name":      func(x, y busy) int { return cmp.Compare(x.Name, y.Name) },
}

func topColumns() []string {
	return []string{"requests", "errors", "inflight", "instances", "memory", "cpu", "state", "name"}
}

func (a *app) top(ctx context.Context, cmd *cli.Command) error {
	if _, err := arguments(cmd); err != nil {
		return err
	}
	order := sorts[cmd.String("sort")]
	if order == nil {
		return usagef("--sort: %q is no column: use %s", cmd.String("sort"), strings.Join(topColumns(), ", "))
	}
	_, _, live := a.screen()
	live = live && !cmd.Bool("once") && !cmd.Bool("json")
	interval := time.Second
	if live {
		interval = 2 * time.Second
	}
	if text := cmd.String("interval"); text != "" {
		var err error
		if interval, err = time.ParseDuration(text); err != nil || interval < 100*time.Millisecond || interval > time.Hour {
			return usagef("--interval: %q is no time from 100ms to 1h: write for example 2s", text)
		}
	}
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	before, err := look(ctx, c)
	for err == nil {
		if err = pause(ctx, interval); err != nil {
			break
		}
		var after admin.Top
		if after, err = look(ctx, c); err != nil {
			break
		}
		all := between(before, after, order)
		if !live {
			return a.show(cmd, all, func(w io.Writer) { topRows(w, all) })
		}
		err, before = a.redraw(after.At, all), after
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // interrupted, as it must be
	}
	return err
}

func look(ctx context.Context, c *client.Client) (top admin.Top, err error) {
	err = c.Call(ctx, "GET", client.Path("top"), nil, &top)
	return top, err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// between makes rates of two looks. A counter that has fallen began anew: the server was started meanwhile.
func between(before, after admin.Top, order func(x, y busy) int) []busy {
	earlier := map[string]admin.TopAPI{}
	for _, api := range before.APIs {
		earlier[api.ID] = api
	}
	seconds := after.At.Sub(before.At).Seconds()
	rate := func(was, is int64) float64 {
		if is < was {
			was = 0
		}
		return perSecond(float64(is-was), seconds)
	}
	all := []busy{}
	for _, api := range after.APIs {
		was := earlier[api.ID]
		all = append(all, busy{
			ID: api.ID, Name: api.Name, State: api.State, Version: api.Version,
			Requests: rate(was.Requests, api.Requests), ClientErrors: rate(was.ClientErrors, api.ClientErrors),
			ServerErrors: rate(was.ServerErrors, api.ServerErrors),
			InFlight:     api.InFlight, Instances: len(api.Instances), MemoryBytes: api.MemoryBytes,
			CPU:           perSecond(cpuBetween(was.Instances, api.Instances), seconds),
			RequestsTotal: api.Requests, ServerErrTotal: api.ServerErrors,
		})
	}
	slices.SortStableFunc(all, func(x, y busy) int { return cmp.Or(order(x, y), cmp.Compare(x.Name, y.Name)) })
	return all
}

// cpuBetween is the CPU time, in seconds, of the instances that are there. What one used that has ended is not known.
func cpuBetween(before, after []admin.TopInstance) (used float64) {
	earlier := map[string]float64{}
	for _, i := range before {
		earlier[i.ID] = i.CPUSeconds
	}
	for _, i := range after {
		used += max(0, i.CPUSeconds-earlier[i.ID])
	}
	return used
}

func perSecond(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}

func topRows(w io.Writer, all []busy) {
	row(w, "NAME", "STATE", "VER", "REQ/S", "4XX/S", "ERR/S", "FLIGHT", "INST", "MEMORY", "CPU")
	for _, b := range all {
		row(w, b.Name, b.State, b.Version, fmt.Sprintf("%.1f", b.Requests), fmt.Sprintf("%.1f", b.ClientErrors), fmt.Sprintf("%.1f", b.ServerErrors),
			b.InFlight, b.Instances, megabytes(b.MemoryBytes), fmt.Sprintf("%.2f", b.CPU))
	}
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
}

// screen is the terminal's size, and whether standard output is one.
func (a *app) screen() (width, height int, is bool) {
	file, ok := a.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		width, height = 0, 0
	}
	if width < 1 { // not known, as of a terminal that a program made
		width = 80
	}
	if height < 1 {
		height = 24
	}
	return width, height, true
}

// redraw writes the table over the one before, as much of it as fits.
func (a *app) redraw(at time.Time, all []busy) error {
	width, height, _ := a.screen()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	topRows(w, all)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	_, err := io.WriteString(a.stdout, frame(summary(at, all)+"\n\n"+table.String(), width, height))
	return err
}

func summary(at time.Time, all []busy) string {
	var sum busy
	running := 0
	for _, b := range all {
		sum.Requests += b.Requests
		sum.ServerErrors += b.ServerErrors
		sum.MemoryBytes += b.MemoryBytes
		sum.CPU += b.CPU
		if b.Instances > 0 {
			running++
		}
	}
	return fmt.Sprintf("%s  %d APIs, %d running  %.1f req/s  %.1f err/s  %s  %.2f CPU", at.Local().Format("15:04:05"), len(all), running,
		sum.Requests, sum.ServerErrors, megabytes(sum.MemoryBytes), sum.CPU)
}

// frame is what a terminal must get to show text from its upper left corner on, and nothing else: each line is cut at the width and
// its rest erased (ECMA-48: CUP, EL, ED).
func frame(text string, width, height int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if height > 1 && len(lines) > height-1 {
		lines = lines[:height-1]
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		if runes := []rune(line); width > 0 && len(runes) > width {
			line = string(runes[:width])
		}
		b.WriteString(line + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}
