package postgres

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"apibuilder/internal/pgtest"
	"apibuilder/store"
	"apibuilder/store/storetest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func openAt(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, pgtest.Database(t)) })
}

func TestReopen(t *testing.T) {
	url := pgtest.Database(t)
	storetest.RunReopen(t, func(t *testing.T) store.Store { return openAt(t, url) })
}
