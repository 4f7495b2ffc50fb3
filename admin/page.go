package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"apibuilder/store"
)

// A list without a limit has so many items, and at most so many; lists of records may have more.
const defaultPage, maxPage = 100, 1000

// Page is one part of a list. The list goes on with Next as the parameter cursor; without Next it has ended. What comes and goes
// meanwhile neither hides an item from who reads on nor shows one twice.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// maxCursor bounds a cursor. The longest is of sums by route: four texts that are at most 256 bytes, each of which JSON may write as six.
const maxCursor = 16 << 10

// longestKey is how many bytes of a text that programs choose are in a cursor.
const longestKey = 200

// cursor is what Next says to this server: after which item of which list.
type cursor struct {
	List  string   `json:"l"`
	After []string `json:"a"`
}

// text is opaque to clients. It tells no more than the last item that they got.
func (c cursor) text() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // texts always have a form
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// anyParts is for a list that is empty by now, of which nobody knows by how many texts it was ordered.
const anyParts = -1

// parseCursor reads a cursor of a list whose items are ordered by so many texts.
func parseCursor(text, list string, parts int) ([]string, error) {
	wrong := badRequest("the cursor is none of this list", "leave it out to begin, or give the `next` of an answer as it is")
	if len(text) > maxCursor {
		return nil, wrong
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, wrong
	}
	var c cursor
	if json.Unmarshal(b, &c) != nil || c.List != list || parts != anyParts && len(c.After) != parts || c.text() != text {
		return nil, wrong
	}
	return c.After, nil
}

// part is what is asked for of a list.
type part struct {
	list  string
	limit int
	after []string // nil: from the beginning
}

// partOf reads limit and cursor.
func partOf(r *http.Request, list string, parts int) (p part, err error) {
	p.list = list
	if p.limit, err = number(r, "limit", defaultPage, maxUsage); err != nil {
		return p, err
	}
	if p.limit == 0 {
		p.limit = defaultPage
	}
	if text := r.URL.Query().Get("cursor"); text != "" {
		p.after, err = parseCursor(text, list, parts)
	}
	return p, err
}

// more is how many items to read, to know whether there is another page.
func (p part) more() int { return p.limit + 1 }

// position is where the part begins, in a list ordered by time and id.
func (p part) position() (store.Position, error) {
	if p.after == nil {
		return store.Position{}, nil
	}
	at, err := strconv.ParseInt(p.after[0], 10, 64)
	if err != nil {
		return store.Position{}, badRequest("the cursor is none of this list", "leave it out to begin")
	}
	return store.Position{At: time.UnixMicro(at).UTC(), ID: p.after[1]}, nil
}

func positionKey(at time.Time, id string) []string {
	return []string{strconv.FormatInt(at.UnixMicro(), 10), id}
}

// cut returns the part of what was read from its beginning on, and the next cursor; where there is one, the answer has a Link
// (RFC 8288) to it.
func cut[T any](w http.ResponseWriter, r *http.Request, p part, found []T, key func(T) []string) ([]T, string) {
	if len(found) <= p.limit {
		return found, ""
	}
	found = found[:p.limit]
	next := cursor{p.list, key(found[p.limit-1])}.text()
	query := r.URL.Query()
	query.Set("cursor", next)
	w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), query.Encode()))
	return found, next
}

// page answers with what was read for a part.
func page[A, B any](w http.ResponseWriter, r *http.Request, p part, found []A, key func(A) []string, convert func(A) B) Page[B] {
	found, next := cut(w, r, p, found, key)
	return Page[B]{Items: each(found, convert), Next: next}
}

// pageOf answers with the part of a whole list that the request asks for. The list is put in the order of its keys, which no two
// items share.
func pageOf[A, B any](w http.ResponseWriter, r *http.Request, list string, all []A, key func(A) []string, convert func(A) B) (any, error) {
	some, next, err := partOfAll(w, r, list, all, key)
	return Page[B]{Items: each(some, convert), Next: next}, err
}

func partOfAll[A any](w http.ResponseWriter, r *http.Request, list string, all []A, key func(A) []string) ([]A, string, error) {
	slices.SortStableFunc(all, func(a, b A) int { return slices.Compare(key(a), key(b)) })
	width := anyParts
	if len(all) > 0 {
		width = len(key(all[0]))
	}
	p, err := partOf(r, list, width)
	if err != nil {
		return nil, "", err
	}
	if p.after != nil {
		from := slices.IndexFunc(all, func(a A) bool { return slices.Compare(key(a), p.after) > 0 })
		if from < 0 {
			from = len(all)
		}
		all = all[from:]
	}
	all, next := cut(w, r, p, all, key)
	return all, next, nil
}

// padded writes a number so that texts are in the order of numbers.
func padded(n int64) string { return fmt.Sprintf("%020d", n) }

// shortened is text that may be long, as a part of a cursor: the same for the same text, another for another one, and up to the bytes
// that are left out in the same order.
func shortened(text string) string {
	if len(text) <= longestKey {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return strings.ToValidUTF8(text[:longestKey], "") + " " + hex.EncodeToString(sum[:16])
}
