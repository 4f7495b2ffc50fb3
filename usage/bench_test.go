package usage

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// benchmark runs with a journal whose sink is s. With a sink that is away, what Record itself takes is measured.
func benchmark(b *testing.B, s Sink, run func(*Journal)) {
	j, err := Open(b.TempDir(), s, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := j.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	run(j)
	b.StopTimer()
	if err := j.Stop(context.Background()); err != nil && !errors.Is(err, errAway) {
		b.Fatal(err)
	}
}

func recordN(b *testing.B) func(*Journal) {
	return func(j *Journal) {
		for range b.N {
			if err := j.Record(sample()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRecord(b *testing.B) { benchmark(b, awaySink{}, recordN(b)) }

func BenchmarkRecordParallel(b *testing.B) {
	benchmark(b, awaySink{}, func(j *Journal) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := j.Record(sample()); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkRecordAndDeliver(b *testing.B) {
	benchmark(b, newSink(), func(j *Journal) {
		recordN(b)(j)
		if err := j.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkCPUOfRecord reports the CPU time of a record, which other processes of a busy machine do not lengthen as they do the
// time on the wall.
func BenchmarkCPUOfRecord(b *testing.B) {
	benchmark(b, awaySink{}, func(j *Journal) {
		before := cpuTime(b)
		recordN(b)(j)
		b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	})
}

func cpuTime(b *testing.B) int64 {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
