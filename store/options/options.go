// Package options is the table of the settings of an API that its owner may change at any time: how each is called, which
// text it takes, and where it stands in store.Options. The commands, the management API and docs/options.md are made from it.
package options

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"apibuilder/store"
)

// Option is one setting.
type Option struct {
	Name    string // lower-case words with hyphens
	Value   string // what stands for its value in a synopsis: TIME, N
	Default string // in words, what holds when it is not set
	Usage   string // one sentence without a full stop

	set   func(o *store.Options, text string) error // text is not empty; the error says what to write instead
	get   func(o store.Options) string              // empty when it is not set; else what set reads
	unset func(o *store.Options)
}

// All returns the settings by name. The caller owns the slice.
func All() []Option {
	all := slices.Clone(table)
	slices.SortFunc(all, func(a, b Option) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Error is a setting that cannot be made.
type Error struct {
	Name    string
	Message string
	Remedy  string
}

func (e *Error) Error() string { return e.Message + ": " + e.Remedy }

// Apply returns o with settings made from texts by name; an empty text takes the setting back. Its error is an *Error, and
// then o is returned as it was.
func Apply(o store.Options, texts map[string]string) (store.Options, error) {
	changed := o
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		option, ok := find(name)
		if !ok {
			return o, &Error{name, fmt.Sprintf("there is no option %.60q", name), "use " + names()}
		}
		if err := option.apply(&changed, texts[name]); err != nil {
			return o, &Error{name, fmt.Sprintf("option %s: %v", name, err), fmt.Sprintf("%s takes %s: %s", name, option.Value, option.Usage)}
		}
	}
	if err := conflict(changed); err != nil {
		return o, err
	}
	return changed, nil
}

// mostText bounds the text of a setting: each API has its own in memory, and lists of APIs hold those of all.
const mostText = 16 << 10

func (p Option) apply(o *store.Options, text string) error {
	if text = strings.TrimSpace(text); len(text) > mostText {
		return fmt.Errorf("it has %d bytes, the most is %d", len(text), mostText)
	}
	if text != "" {
		return p.set(o, text)
	}
	p.unset(o)
	return nil
}

// Texts are the settings that are made, by name, in the form that Apply reads; nil when there are none.
func Texts(o store.Options) map[string]string {
	var texts map[string]string
	for _, option := range table {
		if text := option.get(o); text != "" {
			if texts == nil {
				texts = map[string]string{}
			}
			texts[option.Name] = text
		}
	}
	return texts
}

func find(name string) (Option, bool) {
	i := slices.IndexFunc(table, func(p Option) bool { return p.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return table[i], true
}

func names() string {
	var names []string
	for _, p := range All() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
