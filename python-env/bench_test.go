package pythonenv

import (
	"path/filepath"
	"testing"
)

// BenchmarkRedeploy is what a deploy of unchanged requirements adds for its environment: finding it by its lock.
func BenchmarkRedeploy(b *testing.B) {
	cfg := testConfig(filepath.Join(root, "bench-envs"))
	builder := New(cfg)
	if err := builder.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	env, err := builder.Ensure(b.Context(), Request{Requirements: "six==1.16.0"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found, err := builder.Ensure(b.Context(), Request{Lock: env.Lock}); err != nil || !found.Reused {
			b.Fatalf("%+v, %v", found, err)
		}
	}
}
