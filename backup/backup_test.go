package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"

	"apibuilder/store"
)

// memory is a store of rows alone.
type memory struct{ rows []row }

type row struct {
	table string
	cells store.Cells
}

func (m *memory) Dump(_ context.Context, fn func(string, store.Cells) error) error {
	for _, r := range m.rows {
		if err := fn(r.table, r.cells); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Load(_ context.Context, _ bool, next func() (string, store.Cells, error)) error {
	var rows []row
	for {
		table, cells, err := next()
		if errors.Is(err, io.EOF) {
			m.rows = rows
			return nil
		}
		if err != nil {
			return err
		}
		rows = append(rows, row{table, cells})
	}
}

func sample() *memory {
	return &memory{[]row{
		{"plans", store.Cells{"name": "it's \u202e\x01 \U0001F9EA", "n": int64(math.MinInt64), "cpu": 0.1, "none": nil}},
		{"keys", store.Cells{"hash": []byte{0, 255, 1}, "yes": true, "empty": ""}},
		{"usage", store.Cells{"n": int64(math.MaxInt64)}},
	}}
}

func write(t testing.TB, m *memory) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, m, []File{{"usage/usage-00000001.log", []byte("x\n\xff")}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, raw []byte) (*memory, *Content, error) {
	c, err := Read(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	m := &memory{}
	_, err = c.Load(t.Context(), m, false)
	return m, c, err
}

func TestRoundTrip(t *testing.T) {
	for _, m := range []*memory{sample(), {}} {
		got, c, err := read(t, write(t, m))
		if err != nil || !reflect.DeepEqual(got.rows, m.rows) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, m)
		}
		if len(c.Files) != 1 || string(c.Files[0].Data) != "x\n\xff" || c.Made.IsZero() {
			t.Errorf("%+v", c)
		}
	}
}

// TestTornFilesAreRefused cuts a backup at every byte, and its text at every line.
func TestTornFilesAreRefused(t *testing.T) {
	whole := write(t, sample())
	for n := range whole {
		if _, _, err := read(t, whole[:n]); !errors.Is(err, ErrNotABackup) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	zip, err := gzip.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for n := range len(lines) - 1 {
		less := append(append([][]byte{}, lines[:n]...), lines[n+1:]...)
		if n == 1 {
			continue // one of the journal's files less is another backup
		}
		if _, _, err := read(t, pack(bytes.Join(less, nil))); err == nil {
			t.Errorf("without line %d it is taken", n)
		}
	}
}

func pack(text []byte) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	_, _ = zip.Write(text)
	_ = zip.Close()
	return b.Bytes()
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"format":"apibuilder backup","version":1,"made":"2026-01-01T00:00:00Z"}` + "\n" + `{"table":"plans","row":{"a":1}}` + "\n" + `{"end":true,"rows":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, _, err := read(t, pack(text))
		if err != nil {
			return
		}
		again, _, err := read(t, write(t, m))
		if err != nil || !reflect.DeepEqual(again.rows, m.rows) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
