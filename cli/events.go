package cli

import (
	"fmt"
	"strings"
	"time"

	"apibuilder/deploy"
	"apibuilder/gateway"
	"apibuilder/logs"
	"apibuilder/sandbox"
)

// What happens to an API stands in its log, between the lines of its programs. Floods are counted: see logs.Book.Tell.

func (s *server) keepOutput(api string, version int, line sandbox.Line) {
	s.lostLine(api, s.book.Append(api, logs.Line{
		Time: line.Time, Version: version, Stream: line.Stream, Text: line.Text, Level: line.Level, Request: line.Request, Event: line.Event,
	}))
}

func (s *server) tell(api string, l logs.Line) { s.lostLine(api, s.book.Tell(api, l)) }

func (s *server) tellSandbox(e sandbox.Event) {
	s.tell(e.API, logs.Line{Time: e.At, Version: e.Version, Stream: logs.Sandbox, Level: "info", Event: string(e.Kind), Text: e.Text})
}

// tellExit stands behind what the program printed last.
func (s *server) tellExit(e sandbox.Exit) {
	s.tell(e.API, logs.Line{
		Time: e.At, Version: e.Version, Stream: logs.Sandbox, Level: "error", Event: "ended",
		Text: withDetail("the program ended: "+e.Error(), e.Detail),
	})
}

func (s *server) tellGateway(e gateway.Event) {
	text := fmt.Sprintf("%s: %s %s was answered with %d", e.Word, e.Method, e.Path, e.Status)
	if e.Status == 0 {
		text = fmt.Sprintf("%s: %s %s was broken off", e.Word, e.Method, e.Path)
	}
	s.tell(e.API, logs.Line{Version: e.Version, Stream: logs.Gateway, Level: "warning", Event: e.Word, Request: e.RequestID, Text: text})
}

func (s *server) tellDeploy(e deploy.Event) {
	level := "info"
	if e.Kind == deploy.EventFailed || e.Kind == deploy.EventNotBuilt {
		level = "error"
	}
	s.tell(e.API, logs.Line{
		Version: e.Version, Stream: logs.Deploy, Level: level, Event: string(e.Kind), Text: withDetail(e.Text, e.Detail),
	})
}

// keepProgress has what a build says in the log of its API.
func (s *server) keepProgress(api string, version int, line string) {
	s.lostLine(api, s.book.Append(api, logs.Line{Time: time.Now().UTC(), Version: version, Stream: logs.Build, Level: "info", Text: line}))
}

const mostDetail = 4 << 10 // bytes of a traceback or an installer's text; the version has all of it

// withDetail puts untrusted text of several lines below a line of ours.
func withDetail(text, detail string) string {
	detail = strings.TrimSpace(detail)
	if len(detail) > mostDetail { // a traceback's end says most
		detail = "[...]" + detail[len(detail)-mostDetail:]
	}
	if detail == "" {
		return text
	}
	return text + "\n" + detail
}
