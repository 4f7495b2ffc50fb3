package cli

import (
	"fmt"
	"io"
	"strings"

	"apibuilder/admin"
	"apibuilder/egress"
	"apibuilder/sandbox"
	"apibuilder/store"
)

// trialReport is what sandbox test prints; with --json as it is.
type trialReport struct {
	OK              bool            `json:"ok"`
	Python          string          `json:"python,omitempty"`
	Environment     string          `json:"environment,omitempty"`
	BuildSeconds    float64         `json:"build_seconds"`
	StartSeconds    float64         `json:"start_seconds"`
	MemoryBytes     int64           `json:"memory_bytes"`
	MemoryPeakBytes int64           `json:"memory_peak_bytes"`
	CPUSeconds      float64         `json:"cpu_seconds"`
	Pids            int             `json:"pids"`
	Routes          []sandbox.Route `json:"routes"`
	Requests        []answered      `json:"requests"`
	Output          []sandbox.Line  `json:"output"`
	Egress          *egress.Report  `json:"egress,omitempty"` // with --egress
	Problem         *admin.Problem  `json:"problem,omitempty"`
}

// answered is a request with what came of it.
type answered struct {
	Method      string  `json:"method"`
	Path        string  `json:"path"`
	Status      int     `json:"status"` // 0: no answer
	Seconds     float64 `json:"seconds"`
	Bytes       int64   `json:"bytes"`
	ContentType string  `json:"content_type,omitempty"`
	Body        string  `json:"body,omitempty"` // of a request that was given, when it is text
	Error       string  `json:"error,omitempty"`
	Detail      string  `json:"detail,omitempty"`
}

const shownBody = 1 << 10

func (r *trialReport) describe(w io.Writer) {
	if r.Environment != "" {
		row(w, "Environment", fmt.Sprintf("%.2f s, Python %s", r.BuildSeconds, r.Python))
	}
	if r.StartSeconds > 0 {
		row(w, "Start-up", fmt.Sprintf("%.3f s", r.StartSeconds))
		row(w, "Memory", fmt.Sprintf("%.1f MiB now, %.1f MiB at its peak", mebibytes(r.MemoryBytes), mebibytes(r.MemoryPeakBytes)))
		row(w, "CPU time", fmt.Sprintf("%.3f s", r.CPUSeconds))
		row(w, "Processes", r.Pids)
	}
	r.describeRequests(w)
	if r.Egress != nil {
		fmt.Fprintln(w)
		egressRows(w, r.Egress)
	}
	if len(r.Output) > 0 {
		fmt.Fprintln(w, "\nOutput")
		for _, l := range r.Output {
			fmt.Fprintf(w, "  %s  %s\n", l.Stream, printable(l.Text))
		}
	}
	fmt.Fprintln(w)
	if r.Problem == nil {
		fmt.Fprintln(w, "ok")
		return
	}
	fmt.Fprintf(w, "FAILED  %s\n%s\n", r.Problem.Type, printable(r.Problem.Error()))
	indent(w, r.Problem.Output)
}

func (r *trialReport) describeRequests(w io.Writer) {
	if len(r.Routes) > 0 {
		fmt.Fprintln(w, "\nRoutes")
	}
	for _, route := range r.Routes {
		input := ""
		if route.NeedsInput {
			input = "needs input"
		}
		row(w, "  "+strings.Join(route.Methods, ","), route.Path, input)
	}
	if len(r.Requests) > 0 {
		fmt.Fprintln(w, "\nRequests")
	}
	for _, a := range r.Requests {
		status := fmt.Sprint(a.Status)
		if a.Status == 0 {
			status = "-"
		}
		row(w, "  "+a.Method, a.Path, status, fmt.Sprintf("%.0f ms", a.Seconds*1000), fmt.Sprintf("%d bytes", a.Bytes), a.Error)
		if a.Body != "" {
			indent(w, a.Body[:min(len(a.Body), shownBody)])
		}
	}
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func storeLimits(l sandbox.Limits) store.Limits {
	return store.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Pids: l.Pids}
}
