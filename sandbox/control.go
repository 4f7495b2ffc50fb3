package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	maxFrame   = 1 << 20  // bytes of what a sandbox may say in one frame
	maxDetail  = 32 << 10 // of them, bytes of why a program failed: the runner says no more; their end is kept
	maxRoutes  = 1000     // of a program: the runner says no more
	maxMethods = 32       // of a route
)

// order is what the host sends to a waiting runner, once.
type order struct {
	Code            string            `json:"code"`
	RootPath        string            `json:"root_path"`
	Env             map[string]string `json:"env"`
	Probe           string            `json:"probe"`            // a path that the runner itself answers
	PatienceSeconds float64           `json:"patience_seconds"` // after which it says what it is still doing
	Describe        bool              `json:"describe"`
	Learn           bool              `json:"learn"`           // tell the imports
	Entry           string            `json:"entry,omitempty"` // module in FilesDir to serve, instead of Code
	// Task is code to run instead of the program, with Args as its sys.argv; "started" is said before it runs.
	Task string   `json:"task,omitempty"`
	Args []string `json:"args,omitempty"`
	// Import, alone, has the runner import modules and wait again.
	Import []string `json:"import,omitempty"`
}

// event is what a runner says. After author code has run, its content is whatever the author likes.
type event struct {
	Event  string      `json:"event"` // waiting, taken (the program has arrived), started or failed
	Reason Reason      `json:"reason"`
	Detail string      `json:"detail"`
	Routes firstRoutes `json:"routes"`
	// Imports are the modules that the program has imported, in their order, and ImportSeconds the time that it took.
	Imports       firstImports `json:"imports"`
	ImportSeconds float64      `json:"import_seconds"`
}

// firstRoutes, firstMethods and firstImports are lists of which no more is read than is of use. A frame has room for hundreds of
// thousands of entries, each of which takes many times more memory than in the frame.
type (
	firstRoutes  []Route
	firstMethods []string
	firstImports []string
)

// UnmarshalJSON reads the first of them.
func (r *firstRoutes) UnmarshalJSON(data []byte) error {
	type told struct {
		Path       string       `json:"path"`
		Methods    firstMethods `json:"methods"`
		NeedsInput bool         `json:"needs_input"`
	}
	first, err := firstOf[told](data, maxRoutes)
	*r = make(firstRoutes, len(first))
	for i, t := range first {
		(*r)[i] = Route{t.Path, t.Methods, t.NeedsInput}
	}
	return err
}

// UnmarshalJSON reads the first of them.
func (m *firstMethods) UnmarshalJSON(data []byte) (err error) {
	*m, err = firstOf[string](data, maxMethods)
	return err
}

// UnmarshalJSON reads as many as are learned, and one more, by which too many are known.
func (i *firstImports) UnmarshalJSON(data []byte) (err error) {
	*i, err = firstOf[string](data, maxImports+1)
	return err
}

// firstOf reads at most so many entries of a list, or none of null.
func firstOf[T any](list []byte, most int) (first []T, err error) {
	d := json.NewDecoder(bytes.NewReader(list))
	if begin, err := d.Token(); begin == nil || err != nil {
		return nil, err
	} else if begin != json.Delim('[') {
		return nil, errors.New("there is no list where one should be")
	}
	first = []T{}
	for len(first) < most && d.More() {
		var entry T
		if err := d.Decode(&entry); err != nil {
			return nil, err
		}
		first = append(first, entry)
	}
	return first, nil
}

// reasonsFromInside are those that a program may give for itself.
var reasonsFromInside = []Reason{ImportError, NoApp, StartupFailed, DiskFull}

func writeOrder(w io.Writer, o order) error {
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode the order for the runner: %w", err)
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return fmt.Errorf("send the program to the runner: %w", err)
	}
	return nil
}

func readEvent(r io.Reader) (event, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return event{}, fmt.Errorf("read from the runner: %w", err)
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > maxFrame {
		return event{}, fmt.Errorf("the runner announces a frame of %d bytes, more than %d", length, maxFrame)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return event{}, fmt.Errorf("read from the runner: %w", err)
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return event{}, fmt.Errorf("decode what the runner says: %w", err)
	}
	switch e.Event {
	case "waiting", "taken", "started":
		return e, nil
	case "failed":
		if !slices.Contains(reasonsFromInside, e.Reason) {
			return event{}, fmt.Errorf("the runner gives the unknown reason %.64q", string(e.Reason))
		}
		if cut := len(e.Detail) - maxDetail; cut > 0 {
			e.Detail = strings.ToValidUTF8(strings.Clone(e.Detail[cut:]), "\uFFFD")
		}
		return e, nil
	}
	return event{}, fmt.Errorf("the runner says %.64q, which is no event", e.Event)
}
