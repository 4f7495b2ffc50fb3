package options

import (
	"fmt"

	"apibuilder/store"
)

// mostInstances bounds what one owner may ask for; the node's places and memory bound all of them.
const mostInstances = 100

var instanceSettings = []Option{
	number("min-instances", "0", "instances that run although nobody calls; with isolation, sandboxes that are ready",
		0, mostInstances, func(o *store.Options) *int { return &o.MinInstances }),
	number("max-instances", "1, or 8 with isolation", "instances that run at most; a split gives each version its share, at least one",
		1, mostInstances, func(o *store.Options) *int { return &o.MaxInstances }),
	number("concurrency-target", "0, none", "requests in flight for each instance, above which one more is started",
		0, 10_000, func(o *store.Options) *int { return &o.ConcurrencyTarget }),
	of("isolation", "`none` or `request`", "`none`", "with `request` every request gets a fresh sandbox, which ends after it",
		func(o *store.Options) *store.Isolation { return &o.Isolation }, isolation,
		func(i store.Isolation) string { return string(i) }),
}

func isolation(text string) (store.Isolation, error) {
	switch text {
	case "none":
		return "", nil
	case string(store.IsolateRequests):
		return store.IsolateRequests, nil
	}
	return "", fmt.Errorf("%q is neither none nor request", text)
}
