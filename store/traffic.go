package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Traffic splits an API's requests among several versions. It holds while the version is active that was when it was set, so
// that whatever activates another one ends it in the same moment. The zero value is no split.
type Traffic struct {
	Active int     `json:"active"`
	Shares []Share `json:"shares"` // two or more, by version; one of them is Active's
}

// Share is the part of requests that one version gets: its weight of the sum of all weights.
type Share struct {
	Version int `json:"version"`
	Weight  int `json:"weight"` // from 1 to MaxWeight
}

// MaxWeight bounds the weight of a share.
const MaxWeight = 1000

// IsZero reports whether there is no split; encoding/json leaves it out then.
func (t Traffic) IsZero() bool { return t.Active == 0 && len(t.Shares) == 0 }

// Split returns the shares of a split that holds; nil when all requests go to the active version.
func (a API) Split() []Share {
	if t := a.Options.Traffic; t.Active == a.ActiveVersion && a.ActiveVersion != 0 && len(t.Shares) > 1 {
		return t.Shares
	}
	return nil
}

// Shares says where the API's requests go: never empty once a version is active.
func (a API) Shares() []Share {
	if shares := a.Split(); shares != nil {
		return shares
	}
	if a.ActiveVersion == 0 {
		return nil
	}
	return []Share{{a.ActiveVersion, 1}}
}

// SortShares orders shares by version.
func SortShares(shares []Share) {
	slices.SortFunc(shares, func(a, b Share) int { return cmp.Compare(a.Version, b.Version) })
}

// SharesText writes shares as `apibuilder traffic` reads them: v7=90 v8=10.
func SharesText(shares []Share) string {
	var out []string
	for _, s := range shares {
		out = append(out, fmt.Sprintf("v%d=%d", s.Version, s.Weight))
	}
	return strings.Join(out, " ")
}
