package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// learned remembers which modules a version of an API imports at its start, so that its next sandbox can have them before.
// It is what the program says of itself, so it is used for sandboxes of that program's place and imports alone: nobody else
// gets a sandbox in which a stranger has chosen what is imported.
type learned struct {
	mu   sync.Mutex
	apis map[string]lesson
}

type lesson struct {
	version int
	imports string
}

const (
	// worthSeconds is the import time from which on it is worth a warm sandbox of its own.
	worthSeconds = 0.02
	maxImports   = 4000
	maxModule    = 200 // bytes of a name
	maxLearned   = 128 << 10
)

var validModule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// imports returns what a program's sandbox should have imported, apart by spaces; empty when nothing is known.
func (l *learned) imports(spec Spec) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.apis[spec.API]; known.version == spec.Version {
		return known.imports
	}
	return ""
}

func (l *learned) knows(spec Spec) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.apis[spec.API]
	return ok && known.version == spec.Version
}

// learn remembers what a program says when it has been asked: with modules there beforehand it would tell none. A version
// never changes, so its code is looked at once.
func (l *learned) learn(spec Spec, e event) {
	imports := worthwhile(e)
	if imports != "" && setsEnvironment(spec) {
		imports = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.apis == nil {
		l.apis = map[string]lesson{}
	}
	l.apis[spec.API] = lesson{spec.Version, imports}
}

func (l *learned) forget(api string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.apis, api)
}

// worthwhile returns the imports of a program when they take time and are what such a list can be.
func worthwhile(e event) string {
	wrong := func(name string) bool { return len(name) > maxModule || !validModule.MatchString(name) }
	if e.ImportSeconds < worthSeconds || len(e.Imports) > maxImports || slices.ContainsFunc(e.Imports, wrong) {
		return ""
	}
	all := strings.Join(e.Imports, " ")
	if len(all) > maxLearned {
		return ""
	}
	return all
}

// assignsEnvironment finds code that sets variables of its own process.
var assignsEnvironment = regexp.MustCompile(`\b(putenv|load_dotenv)\b|\benviron\s*(\[[^\]\n]*\]\s*=[^=]|\.\s*(setdefault|update|pop)\b|\|=)`)

// readAtImport begin the names of variables that packages for numbers, plots and models look at when they are imported.
var readAtImport = []string{
	"BLIS_", "CUDA_", "GOTO_", "HF_", "JAX_", "KERAS_", "KMP_", "LD_", "LOKY_", "MALLOC_", "MKL_", "MPL", "NLTK_", "NUMBA_", "NUMEXPR_",
	"OMP_", "OPENBLAS_", "OPENCV_", "POLARS_", "PYTHON", "RAYON_", "SKLEARN_", "TF_", "TIKTOKEN_", "TOKENIZERS_", "TOKIO_", "TORCH_", "TRANSFORMERS_",
	"TZ", "XLA_",
}

// setsEnvironment reports whether a program may count on variables being set before it imports its packages. With the
// packages imported beforehand they would come too late.
func setsEnvironment(spec Spec) bool {
	for name := range spec.Env {
		if slices.ContainsFunc(readAtImport, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			return true
		}
	}
	if spec.Files == "" {
		return assignsEnvironment.MatchString(spec.Code)
	}
	found := errors.New("found")
	err := filepath.WalkDir(spec.Files, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".py" {
			return err
		}
		code, err := os.ReadFile(path)
		if err == nil && assignsEnvironment.Match(code) {
			err = found
		}
		return err
	})
	return err != nil // one that cannot be read may do so
}
