package sandbox

import "time"

// EgressSums is the Event of lines that say what an instance reached and was refused.
const EgressSums = "egress_sums"

// sumsEvery is how often a program that runs has it told what it reached.
const sumsEvery = time.Hour

// outlast returns when the sandbox has ended, and tells meanwhile what it reaches.
func (l *launcher) outlast(i *Instance) {
	if i.guard == nil {
		<-i.sandbox.Done()
		return
	}
	hourly := time.NewTicker(sumsEvery)
	defer hourly.Stop()
	for {
		select {
		case <-i.sandbox.Done():
			return
		case <-hourly.C:
			l.tellSums(i)
		}
	}
}

// tellSums has it in the API's log what an instance reached and was refused since that was told last, if anything. So it is for a task:
// whoever waits for what that prints may be slow.
func (l *launcher) tellSums(i *Instance) {
	if i.guard == nil || l.onOutput == nil {
		return
	}
	text := i.guard.Sums()
	i.mu.Lock()
	claimed, spec := i.claimed, i.spec
	i.mu.Unlock()
	if !claimed || text == "" {
		return
	}
	by := "egress: "
	if spec.task != nil {
		by = "egress of one-off code: "
	}
	l.onOutput(spec.API, spec.Version, Line{Time: time.Now().UTC(), Stream: "egress", Level: LevelInfo, Event: EgressSums, Text: by + text})
}
