package cli

import (
	"context"
	"os"
	"strings"

	"apibuilder/store/postgres"
	"apibuilder/store/sqlite"
)

// secret is a text that no formatting prints, not even as a field of something else: of a pointer in a struct fmt shows the
// address.
type secret struct{ text *string }

func newSecret(text string) secret { return secret{&text} }

// reveal is the text, empty where there is none.
func (s secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// databaseURL reads where the PostgreSQL is, from the closer of the two settings. Its errors never repeat the URL.
func databaseURL(s settings) (secret, error) {
	url, file := s["database-url"], s["database-url-file"]
	switch {
	case url.text != "" && file.text != "" && url.origin == file.origin:
		return secret{}, usagef("%s and %s are both set: leave one out", url.name, file.name)
	case file.text == "" || url.text != "" && url.origin > file.origin:
		return newSecret(strings.TrimSpace(url.text)), nil
	}
	raw, err := os.ReadFile(file.text)
	if err != nil {
		return secret{}, usagef("%s: %v", file.name, err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return secret{}, usagef("%s: %s holds no URL in one line: write postgres://USER:PASSWORD@HOST:PORT/DATABASE", file.name, file.text)
	}
	return newSecret(text), nil
}

func (s *server) openStore(ctx context.Context) error {
	st, err := s.connectStore(ctx)
	if err != nil {
		return err
	}
	s.database = st
	s.onStop("store", func(context.Context) error { return st.Close() })
	return s.sealStore(ctx, st)
}

func (s *server) connectStore(ctx context.Context) (keeper, error) {
	if s.options.database.reveal() == "" {
		return openFile(ctx, s.data)
	}
	st, err := postgres.Open(ctx, postgres.Options{URL: s.options.database.reveal(), Log: s.log.Named("store")})
	if err != nil {
		return nil, err // not a store that is nil and yet not nil
	}
	return st, nil
}

// openFile opens the SQLite file of a data directory.
func openFile(ctx context.Context, data *dataDir) (keeper, error) {
	st, err := sqlite.Open(ctx, data.join("apibuilder.db"))
	if err != nil {
		return nil, err
	}
	return st, nil
}
