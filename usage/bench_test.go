package usage

import (
	"context"
	"errors"
	"testing"
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
