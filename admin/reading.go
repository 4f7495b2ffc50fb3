package admin

import (
	"fmt"
	"net/http"
	"strconv"
)

// maxUsage is how many records a request gets at most.
const maxUsage = 10000

func number(r *http.Request, name string, otherwise, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, badRequest(fmt.Sprintf("%s=%q is not a number from 0 to %d", name, text, most), "leave it out, or give one")
	}
	return n, nil
}
