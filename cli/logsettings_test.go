package cli

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"apibuilder/logs"
	"apibuilder/sandbox"
)

// TestLinesThatCannotBeKeptDoNotFloodTheOperator: the disk is full, say, and an author's program prints on.
func TestLinesThatCannotBeKeptDoNotFloodTheOperator(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file") // where a directory should be
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		core, told := observer.New(zap.InfoLevel)
		s := &server{log: zap.New(core), book: logs.New(logs.Config{Dir: file})}
		for range 3000 {
			s.keepOutput("api_a", 1, sandbox.Line{Time: time.Now(), Stream: "stdout", Text: "again"})
			time.Sleep(10 * time.Millisecond)
		}
		var lines int64
		for _, entry := range told.All() {
			n, _ := entry.ContextMap()["lines"].(int64)
			lines += n
		}
		if told.Len() != 3 || lines != 2001 {
			t.Errorf("the operator was told %d times, of %d lines", told.Len(), lines)
		}
		if err := s.book.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
