package sqlite

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apibuilder/store"
)

// BenchmarkAddUsage stores batches as a busy node's journal delivers them: 2048 records of twenty APIs with five keys each, in the order of
// their time. It reports CPU time, because the time on the wall is longer where others use the machine.
func BenchmarkAddUsage(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "apibuilder.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const records = 2048
	batch := make([]store.Usage, records)
	at := time.Now()
	var cpu int64
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			n++
			at = at.Add(150 * time.Microsecond)
			batch[i] = store.Usage{
				ID: requestID(at), APIID: fmt.Sprintf("api_q3f5abcdefghi%03d", n*7%20), Version: 3, Node: "node-1",
				KeyID: fmt.Sprintf("key_q3f5abcdefghi%03d", n*7%20*5+n%5), Time: at, Method: "GET", Path: fmt.Sprintf("/items/%d", n%1000),
				Route: "/items/{id}", Status: 200, BytesOut: 512, Duration: 1500 * time.Microsecond, CPU: 800 * time.Microsecond,
			}.Clean() // as the journal's are
		}
		before := cpuTime(b)
		b.StartTimer()
		if err := s.AddUsage(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime(b) - before
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/record")
	b.ReportMetric(float64(cpu)/1000/float64(n), "cpu-us/record")
}

func cpuTime(b *testing.B) int64 {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// requestID is as the gateway makes them: UUIDv7, which sort by their time.
func requestID(at time.Time) string {
	ms := at.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", ms>>16, ms&0xffff, rand.IntN(1<<12), rand.IntN(1<<12), rand.Int64N(1<<48))
}
