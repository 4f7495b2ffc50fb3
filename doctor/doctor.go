// Package doctor says what a host has and lacks of what a server needs, with the remedy for each, without changing
// anything. It reads files below a root and asks the rest of a Host, so that a test can be any machine. It imports nothing
// of this module: who runs it brings what other packages know.
package doctor

import (
	"context"
	"fmt"
)

// Status is the verdict of a finding.
type Status string

const (
	// OK needs nothing.
	OK Status = "ok"
	// Warning lets a server start; something will be less than it could be.
	Warning Status = "warning"
	// Missing makes a server refuse to start, or its programs not start.
	Missing Status = "missing"
)

// Finding is one thing about the host.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`            // one line; parts of it may come from files, so it is untrusted
	Remedy string `json:"remedy,omitempty"` // what to do; there unless the status is ok
}

// Report is all findings.
type Report struct {
	OK       bool      `json:"ok"` // nothing is missing
	Findings []Finding `json:"findings"`
}

// Count returns how many findings have a status.
func (r Report) Count(s Status) int {
	n := 0
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Settings are those of the server that is to run on the host.
type Settings struct {
	DataDir           string // absolute
	Listen            string // address for consumers
	AdminListen       string // management address; empty: none
	TLSListen         string // for consumers with TLS; empty: none
	RedirectListen    string // whose consumers are sent to that; empty: none
	MetricsListen     string // empty: none
	FirstUID, LastUID uint32 // range of user ids, both ends included
	MaxSandboxes      int
	DefaultMemory     int64 // bytes, of an API that asks for none
	Offline           bool  // do not ask the package index
	Egress            bool  // programs may reach something outside
}

// Examine looks at everything. It takes some seconds at most, besides what the Host's functions take.
func Examine(ctx context.Context, h Host, s Settings) Report {
	e := &exam{Host: h, Settings: s}
	for _, check := range []func(context.Context){
		e.kernel, e.architecture, e.library, e.root, e.groups, e.namespaces, e.proc, e.apparmor, e.seccomp, e.refusals,
		e.interpreters, e.tools, e.index, e.database,
		e.directory, e.disk, e.uids,
		e.memory, e.swap, e.files, e.dumps, e.clock, e.addresses, e.certificate, e.outside,
	} {
		check(ctx)
	}
	return Report{OK: e.report.Count(Missing) == 0, Findings: e.report.Findings}
}

// exam is one call of Examine.
type exam struct {
	Host
	Settings
	report  Report
	fetches bool // serve will have to fetch a tool
}

func (e *exam) add(name string, s Status, remedy, format string, args ...any) {
	if s == OK {
		remedy = ""
	}
	e.report.Findings = append(e.report.Findings, Finding{
		Name: name, Status: s, Found: fmt.Sprintf(format, args...), Remedy: remedy,
	})
}

func (e *exam) ok(name, format string, args ...any) { e.add(name, OK, "", format, args...) }

func (e *exam) warn(name, remedy, format string, args ...any) {
	e.add(name, Warning, remedy, format, args...)
}

func (e *exam) miss(name, remedy, format string, args ...any) {
	e.add(name, Missing, remedy, format, args...)
}
