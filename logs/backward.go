package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

const (
	blockBytes = 64 << 10
	recordMost = 256 << 10 // of one line as it is stored: JSON may write a byte as six
)

// eachBackward calls each with the whole lines of a file up to size, the last one first, until each returns false. The slice is
// good during the call. What is longer than any line that was ever written is left out.
func eachBackward(file io.ReaderAt, size int64, each func(raw []byte) bool) error {
	var rest []byte // the end of a line whose beginning is still to be read
	block := make([]byte, blockBytes)
	tooLong := false
	for end := size; end > 0; {
		begin := max(0, end-blockBytes)
		piece := block[:end-begin]
		if _, err := file.ReadAt(piece, begin); err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		end = begin
		for {
			at := bytes.LastIndexByte(piece, '\n')
			if at < 0 {
				break
			}
			line := piece[at+1:]
			if len(rest) > 0 {
				line = append(bytes.Clone(line), rest...)
			}
			piece, rest = piece[:at], rest[:0]
			if len(line) > 0 && !tooLong && !each(line) {
				return nil
			}
			tooLong = false
		}
		if len(rest)+len(piece) > recordMost {
			tooLong, rest = true, rest[:0]
			continue
		}
		rest = append(bytes.Clone(piece), rest...)
	}
	if len(rest) > 0 && !tooLong {
		each(rest)
	}
	return nil
}

// snapshot is an API's log as it was at one moment.
type snapshot struct {
	files []*os.File // the newest first
	sizes []int64
}

func (s *snapshot) close() {
	for _, file := range s.files {
		_ = file.Close()
	}
}

// eachBackward calls each for the lines of all files, the newest first.
func (s *snapshot) eachBackward(each func(raw []byte) bool) error {
	more := true
	for i, file := range s.files {
		err := eachBackward(file, s.sizes[i], func(raw []byte) bool {
			more = each(raw)
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}
