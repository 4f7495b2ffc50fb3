package sandbox

import (
	"context"
	"testing"
)

// BenchmarkAcquire is what the manager adds to a request for a program that runs; peers are the ways to choose an instance.
func BenchmarkAcquire(b *testing.B) {
	for name, plan := range map[string]Plan{
		"one instance":     {Shares: []Share{{1, 1}}},
		"split":            {Shares: []Share{{1, 9}, {2, 1}}},
		"sixteen":          {Shares: []Share{{1, 1}}, Scale: Scale{Min: 16}},
		"sixteen, a scale": {Shares: []Share{{1, 1}}, Scale: Scale{Min: 16, Target: 100}},
	} {
		b.Run(name, func(b *testing.B) {
			m := NewManager(ManagerConfig{
				Driver: &fakeDriver{program: serveOK},
				Source: func(_ context.Context, api string, version int) (Spec, error) { return Spec{API: api, Version: version}, nil },
				Plan:   func(context.Context, string) (Plan, error) { return plan, nil },
			})
			if err := m.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := m.Stop(context.Background()); err != nil {
					b.Error(err)
				}
			}()
			if err := m.Wake(b.Context(), "api_a"); err != nil {
				b.Fatal(err)
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					l, err := m.Acquire(b.Context(), "api_a")
					if err != nil {
						b.Error(err)
						return
					}
					l.Release()
				}
			})
		})
	}
}
