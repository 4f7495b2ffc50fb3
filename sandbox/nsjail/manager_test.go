package nsjail_test

import (
	"context"
	"testing"
	"time"

	"apibuilder/sandbox"
)

// manage starts a manager that is stopped at the test's end.
func manage(t *testing.T, cfg sandbox.ManagerConfig) *sandbox.Manager {
	t.Helper()
	m := sandbox.NewManager(cfg)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// launch starts a program that is stopped at the test's end.
func launch(t *testing.T, cfg sandbox.ManagerConfig, spec sandbox.Spec) *sandbox.Instance {
	t.Helper()
	i, err := manage(t, cfg).Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Stop(context.Background(), time.Second) })
	return i
}
