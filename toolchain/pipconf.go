package toolchain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxPipConfig bounds one of pip's configuration files.
const maxPipConfig = 1 << 20

// readPipConfig returns pip's settings by their long names ("index-url"); a stronger file wins, and within all files a
// command's own section ([install], [download]) wins over [global], as in pip.
func readPipConfig() (map[string]string, error) {
	sections := map[string]map[string]string{"global": {}, "install": {}, "download": {}}
	for _, path := range pipConfigFiles() {
		text, err := readBounded(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read pip's configuration %s: %w", path, err)
		}
		parsePipConfig(text, sections)
	}
	settings := map[string]string{}
	for _, name := range []string{"global", "download", "install"} {
		for k, v := range sections[name] {
			settings[k] = v
		}
	}
	return settings, nil
}

// parsePipConfig adds the settings of the sections that are asked for. The format is Python's configparser: "key = value"
// or "key: value", comments by # or ;, and an indented line continues the value above.
func parsePipConfig(text string, sections map[string]map[string]string) {
	var section map[string]string
	var key string
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case key != "" && (line[0] == ' ' || line[0] == '\t'):
			section[key] = strings.TrimSpace(section[key] + "\n" + trimmed)
		case trimmed[0] == '[' && strings.HasSuffix(trimmed, "]"):
			section, key = sections[trimmed[1:len(trimmed)-1]], ""
		default:
			key = ""
			at := strings.IndexAny(trimmed, "=:")
			if section == nil || at <= 0 {
				continue
			}
			key = optionName(trimmed[:at])
			section[key] = strings.TrimSpace(trimmed[at+1:])
		}
	}
}

// optionName gives a key the one form that pip compares: "Index_URL" and "--index-url" are "index-url".
func optionName(key string) string {
	key = strings.ToLower(strings.TrimSpace(key))
	return strings.TrimPrefix(strings.ReplaceAll(key, "_", "-"), "--")
}

func readBounded(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPipConfig))
	return string(b), err
}
