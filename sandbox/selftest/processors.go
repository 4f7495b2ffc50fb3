package selftest

import (
	"os"
	"strconv"
	"strings"
)

// processors is what those of this machine have done since it started, in ticks (proc_stat(5)); the zero value where it is not told.
type processors struct{ idle, all float64 }

func readProcessors() processors {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return processors{}
	}
	return parseProcessors(string(text))
}

// parseProcessors reads the line of all processors: user, nice, system, idle, iowait, irq, softirq, steal; guests' are in the first two.
func parseProcessors(text string) (p processors) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return processors{}
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return processors{}
		}
		p.all += ticks
		if i == 3 || i == 4 {
			p.idle += ticks
		}
	}
	return p
}

// busySince reports whether next to nothing was left of the processors.
func (p processors) busySince(before processors) bool {
	return p.all > before.all && before.all > 0 && (p.idle-before.idle)/(p.all-before.all) < 0.1
}
