package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// advice is what a program is told when it prints what a library says at a limit that its author may not know of. It is no more
// than that: the program may print it for reasons of its own.
type advice struct {
	sign   string
	stream string
	text   func(i *Instance) string // "" where it is not that
}

const noNetwork = "the program has no network: name what it is to reach, as in --set egress=api.example.com:443; see docs/egress.md"

var advices = []advice{
	{"Temporary failure in name resolution", "egress", adviseNetwork},
	{"Network is unreachable", "egress", adviseNetwork},
	{"can't start new thread", "sandbox", func(i *Instance) string {
		return fmt.Sprintf("the program may have %d processes and threads at a time: --pids allows more", i.spec.Limits.Pids)
	}},
	{"No space left on device", "sandbox", func(i *Instance) string {
		return fmt.Sprintf("the program's /tmp holds %d MiB: keep less there, or what matters in a database", i.spec.Limits.TmpBytes>>20)
	}},
}

func adviseNetwork(i *Instance) string {
	if i.guard != nil {
		return ""
	}
	return noNetwork
}

// advise returns the line for a text of the program's, if there is one.
func (i *Instance) advise(text string) (Line, bool) {
	for _, a := range advices {
		if !strings.Contains(text, a.sign) {
			continue
		}
		if said := a.text(i); said != "" {
			return Line{Time: time.Now().UTC(), Stream: a.stream, Level: LevelWarning, Event: "advice", Text: said}, true
		}
	}
	return Line{}, false
}

// adviseOnceLocked is advise for what was not said yet.
func (i *Instance) adviseOnceLocked(text string) (Line, bool) {
	line, ok := i.advise(text)
	if !ok || strings.Contains(i.advised, line.Text) {
		return Line{}, false
	}
	i.advised += line.Text
	return line, true
}
