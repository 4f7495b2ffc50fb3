package deploy

import (
	"errors"
	"fmt"
	"time"

	pythonenv "apibuilder/python-env"
	"apibuilder/store"
)

// EventKind is one word for what happened to an API.
type EventKind string

// The kinds that there are.
const (
	EventDeploying EventKind = "deploying"    // a version was added
	EventBuilt     EventKind = "env_built"    // an environment is there, built or found
	EventNotBuilt  EventKind = "build_failed" // of a version that was ready before; else the deploy has failed
	EventDeployed  EventKind = "deployed"
	EventFailed    EventKind = "deploy_failed"
	EventTraffic   EventKind = "traffic" // requests go to other versions
)

// Event is something about an API that its author may want to know.
type Event struct {
	API     string
	Version int
	Kind    EventKind
	Text    string // one sentence
	Detail  string // a traceback or the installer's output: untrusted text of many lines, may be empty
}

// Tell has fn called for every Event, also concurrently. It must be quick. Call Tell before the first deploy.
func (d *Deployer) Tell(fn func(Event)) { d.tell = fn }

func (d *Deployer) say(apiID string, version int, kind EventKind, format string, args ...any) {
	if d.tell != nil {
		d.tell(Event{API: apiID, Version: version, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
}

// sayBuilt tells of an environment; again says that the version was ready before and its environment was gone.
func (d *Deployer) sayBuilt(v store.Version, e pythonenv.Environment, took time.Duration, again bool) {
	took = took.Round(time.Millisecond)
	switch {
	case e.Reused:
		d.say(v.APIID, v.Number, EventBuilt, "the environment of version %d was there already", v.Number)
	case again:
		d.say(v.APIID, v.Number, EventBuilt, "the environment of version %d was gone, and was built again in %v", v.Number, took)
	default:
		d.say(v.APIID, v.Number, EventBuilt, "the environment of version %d was built in %v", v.Number, took)
	}
}

// sayFailed tells of a deploy that failed, to its author: what is the operator's problem keeps its reason to the server's log.
func (d *Deployer) sayFailed(v store.Version, err error) {
	if d.tell == nil || v.Number == 0 {
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Reason: Internal, Message: "the operator finds the reason in the server's log"}
	}
	d.tell(Event{
		API: v.APIID, Version: v.Number, Kind: EventFailed, Detail: e.Detail,
		Text: fmt.Sprintf("version %d failed: %s: %s", v.Number, e.Reason, e.Message),
	})
}

// sayTraffic tells where an API's requests go now.
func (d *Deployer) sayTraffic(apiID string, shares []store.Share) {
	if len(shares) == 1 {
		d.say(apiID, shares[0].Version, EventTraffic, "all requests go to version %d", shares[0].Version)
		return
	}
	d.say(apiID, 0, EventTraffic, "requests are split: %s", store.SharesText(shares))
}
