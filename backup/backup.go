// Package backup writes and reads a backup: one file that holds a whole store, whichever driver it is in, and files of the data
// directory. The file is gzip over lines of JSON:
//
//	{"format": "apibuilder backup", "version": 1, "made": TIME}
//	{"file": "usage/00000001.jsonl", "data": BASE64}      any number
//	{"table": "apis", "row": {COLUMN: VALUE, ...}}        any number, in the order of store.Tables
//	{"end": true, "rows": N}
//
// Bytes in a row are {"base64": "..."}. A file without its last line is torn and is refused.
package backup

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"apibuilder/store"
)

const (
	format  = "apibuilder backup"
	version = 1

	mostLine = 64 << 20 // of JSON: a row with two programs of 1 MiB, or a file of the journal
)

// ErrNotABackup says that a file is something else, or is torn or changed.
var ErrNotABackup = errors.New("this is no whole backup")

// line is any of the lines.
type line struct {
	Format  string                     `json:"format,omitempty"`
	Version int                        `json:"version,omitempty"`
	Made    *time.Time                 `json:"made,omitempty"`
	File    string                     `json:"file,omitempty"`
	Data    []byte                     `json:"data,omitempty"`
	Table   string                     `json:"table,omitempty"`
	Row     map[string]json.RawMessage `json:"row,omitempty"`
	End     bool                       `json:"end,omitempty"`
	Rows    int                        `json:"rows,omitempty"`
}

// File is a file of the data directory; its name is relative, with slashes.
type File struct {
	Name string
	Data []byte
}

// Write writes a backup of what a store holds at one moment, and returns how many rows it has.
func Write(ctx context.Context, w io.Writer, st store.Dumper, files []File) (rows int, err error) {
	zip := gzip.NewWriter(w)
	out := json.NewEncoder(zip)
	now := time.Now().UTC().Truncate(time.Second)
	if err := out.Encode(line{Format: format, Version: version, Made: &now}); err != nil {
		return 0, err
	}
	for _, f := range files {
		if err := out.Encode(line{File: f.Name, Data: f.Data}); err != nil {
			return 0, err
		}
	}
	err = st.Dump(ctx, func(table string, c store.Cells) error {
		row, err := encode(c)
		if err != nil {
			return err
		}
		rows++
		return out.Encode(line{Table: table, Row: row})
	})
	if err == nil {
		err = out.Encode(line{End: true, Rows: rows})
	}
	if err == nil {
		err = zip.Close()
	}
	return rows, err
}

type binary struct {
	Base64 []byte `json:"base64"`
}

func encode(c store.Cells) (map[string]json.RawMessage, error) {
	row := map[string]json.RawMessage{}
	for column, value := range c {
		switch v := value.(type) {
		case []byte:
			value = binary{v}
		case nil, string, bool, int64, float64:
		default:
			return nil, fmt.Errorf("column %s has a value of type %T: teach backup about it", column, value)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", column, err)
		}
		row[column] = raw
	}
	return row, nil
}

func decode(row map[string]json.RawMessage) (store.Cells, error) {
	c := store.Cells{}
	for column, raw := range row {
		var v any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%w: column %s: %w", ErrNotABackup, column, err)
		}
		switch n := v.(type) {
		case json.Number:
			if whole, err := n.Int64(); err == nil {
				v = whole
			} else if v, err = n.Float64(); err != nil {
				return nil, fmt.Errorf("%w: column %s: %w", ErrNotABackup, column, err)
			}
		case map[string]any:
			var b binary
			if err := json.Unmarshal(raw, &b); err != nil {
				return nil, fmt.Errorf("%w: column %s: %w", ErrNotABackup, column, err)
			}
			v = b.Base64
		case []any:
			return nil, fmt.Errorf("%w: column %s is a list", ErrNotABackup, column)
		}
		c[column] = v
	}
	return c, nil
}

// Content is a backup that is being read.
type Content struct {
	Made  time.Time
	Files []File

	in   *bufio.Scanner
	next line // the first one after the files
	rows int
}

// Read reads a backup up to its rows. The file must stay open until they are loaded.
func Read(r io.Reader) (*Content, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotABackup, err)
	}
	c := &Content{in: bufio.NewScanner(zip)}
	c.in.Buffer(nil, mostLine)
	first, err := c.line()
	switch {
	case err != nil:
		return nil, err
	case first.Format != format || first.Made == nil:
		return nil, fmt.Errorf("%w: its first line is another program's", ErrNotABackup)
	case first.Version > version:
		return nil, fmt.Errorf("the backup has format %d, this version knows %d: restore it with the version that made it", first.Version,
			version)
	}
	c.Made = *first.Made
	for {
		l, err := c.line()
		if err != nil {
			return nil, err
		}
		if l.File == "" {
			c.next = l
			return c, nil
		}
		c.Files = append(c.Files, File{l.File, l.Data})
	}
}

func (c *Content) line() (l line, err error) {
	if !c.in.Scan() {
		err := c.in.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return l, fmt.Errorf("%w: %w", ErrNotABackup, err)
	}
	if err := json.Unmarshal(c.in.Bytes(), &l); err != nil {
		return l, fmt.Errorf("%w: %w", ErrNotABackup, err)
	}
	return l, nil
}

// Load loads the rows into a store, whole or not at all, and returns how many.
func (c *Content) Load(ctx context.Context, st store.Loader, force bool) (rows int, err error) {
	err = st.Load(ctx, force, c.row)
	return c.rows, err
}

// row is what Loader.Load asks for. The end is one only where the last line says so.
func (c *Content) row() (string, store.Cells, error) {
	l := c.next
	if c.rows > 0 {
		var err error
		if l, err = c.line(); err != nil {
			return "", nil, err
		}
	}
	if l.End {
		if l.Rows != c.rows {
			return "", nil, fmt.Errorf("%w: it has %d rows of %d", ErrNotABackup, c.rows, l.Rows)
		}
		if c.in.Scan() || c.in.Err() != nil { // gzip's checksum is behind the last line
			return "", nil, fmt.Errorf("%w: its end is torn", ErrNotABackup)
		}
		return "", nil, io.EOF
	}
	known := false
	for _, table := range store.Tables {
		known = known || table == l.Table
	}
	if !known {
		return "", nil, fmt.Errorf("%w: there is no table %q", ErrNotABackup, l.Table)
	}
	c.rows++
	cells, err := decode(l.Row)
	return l.Table, cells, err
}
