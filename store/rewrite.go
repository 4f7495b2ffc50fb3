package store

import "maps"

// EnvRow is a version's environment as a driver has it.
type EnvRow struct {
	APIID  string
	Number int
	Text   string // of EncodeEnv
}

// rewrittenAtOnce is how many environments are in memory at a time.
const rewrittenAtOnce = 100

// RewriteEnvs gives fn the environments that next returns, and put what drivers store in place of those that fn has changed. Next returns at
// most so many, in the order of API and number, of those that follow one. Put returns how many rows it has changed; so does RewriteEnvs.
func RewriteEnvs(
	next func(after EnvRow, most int) ([]EnvRow, error), put func(row EnvRow, text string) (int, error),
	fn func(apiID string, number int, env map[string]string) (map[string]string, error),
) (changed int, err error) {
	last := EnvRow{}
	for {
		rows, err := next(last, rewrittenAtOnce)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			text, err := row.rewritten(fn)
			if err != nil {
				return 0, err
			}
			if text == row.Text {
				continue
			}
			n, err := put(row, text)
			if err != nil {
				return 0, err
			}
			changed += n
		}
		if len(rows) < rewrittenAtOnce {
			return changed, nil
		}
		last = rows[len(rows)-1]
	}
}

// rewritten is the text of what fn makes of an environment; the same text when it changed nothing.
func (r EnvRow) rewritten(fn func(apiID string, number int, env map[string]string) (map[string]string, error)) (string, error) {
	env, err := DecodeEnv([]byte(r.Text))
	if err != nil {
		return "", err
	}
	changed, err := fn(r.APIID, r.Number, maps.Clone(env))
	if err != nil || maps.Equal(changed, env) {
		return r.Text, err
	}
	return EncodeEnv(changed)
}
