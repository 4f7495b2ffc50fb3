package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// parseSize reads a number of bytes: "256M", "1.5G", "64Ki", "1048576". K, M, G and T are powers of 1024 with and without
// the i, as the kernel's own interfaces count.
func parseSize(s string) (int64, error) {
	number := strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number, shift = number[:n-1], 10*(i+1)
		}
	}
	if shift == 0 {
		number = s
	}
	f, err := strconv.ParseFloat(number, 64)
	bytes := math.Round(f * float64(int64(1)<<shift))
	if err != nil || !(bytes > 0 && bytes <= 1<<60) || strings.ContainsAny(number, "xXpPeE_+") {
		return 0, fmt.Errorf("%q is no size: write for example 256M, 1G or 64Ki", s)
	}
	return int64(bytes), nil
}

func parseCPU(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= 1024) {
		return 0, fmt.Errorf("%q is no number of cores: write for example 0.5 or 2", s)
	}
	return f, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is no number: write for example 64", s)
	}
	return n, nil
}

// formatSize writes whole units where there are some: "256M".
func formatSize(bytes int64) string {
	for i, unit := range []string{"T", "G", "M", "K"} {
		if size := int64(1) << (40 - 10*i); bytes >= size && bytes%size == 0 {
			return strconv.FormatInt(bytes/size, 10) + unit
		}
	}
	if bytes >= 1<<20 {
		return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', 1, 64) + "M"
	}
	return strconv.FormatInt(bytes, 10)
}

// limits reads --memory, --cpu and --pids or the server's defaults.
func parseLimits(memory, cpu, pids string, name func(flag string) string) (l store.Limits, err error) {
	read := func(flag, text string, into func() error) {
		if err != nil || text == "" {
			return
		}
		if e := into(); e != nil {
			err = usagef("%s: %v", name(flag), e)
		}
	}
	read("memory", memory, func() (e error) { l.MemoryBytes, e = parseSize(memory); return e })
	read("cpu", cpu, func() (e error) { l.CPU, e = parseCPU(cpu); return e })
	read("pids", pids, func() (e error) { l.Pids, e = parseCount(pids); return e })
	return l, err
}

func parseRate(s string) (store.Rate, error) {
	l, err := ratelimit.ParseRate(s)
	return store.Rate{Requests: l.Requests, Per: l.Per}, err
}
