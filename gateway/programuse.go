package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// useField is in which the runner says with each response what CPU time the request used until then, in microseconds, a space,
// and which route it took. Programs can say there what they like, about themselves. No consumer gets it.
const useField = "X-Apibuilder-Use"

const (
	longestTemplate = 200 // bytes, as in the runner
	longestDigits   = 13  // of microseconds: 116 days
	mostTemplates   = 500 // of one API in one day, as this node remembers them
)

// programUse is what a program says of one request.
type programUse struct {
	cpu   time.Duration
	route string // a slice of the header
}

// useIn reads what a response says; nothing where that is not in the form that the runner gives it.
func useIn(h *fieldList) (u programUse) {
	text, said := h.count(useField)
	if said != 1 {
		return u
	}
	digits, route, ok := strings.Cut(text, " ")
	if digits == "" {
		return u
	}
	if !ok { // without a route the space at the end is gone
		digits = text
	}
	for i := range len(digits) {
		if c := digits[i]; c < '0' || c > '9' || i >= longestDigits {
			return u
		}
	}
	us, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return u
	}
	u.cpu = time.Duration(us) * time.Microsecond
	if strings.HasPrefix(route, "/") && len(route) <= longestTemplate && utf8.ValidString(route) {
		u.route = route
	}
	return u
}

// templates bounds how many routes an API has in the records of a day (UTC): a program can make up one for each request. The zero
// value is ready to use, by several goroutines.
type templates struct {
	mu   sync.Mutex
	day  int64
	apis map[string]map[string]string
}

// known returns the template, as a string of its own, or nothing when the API has too many.
func (t *templates) known(apiID, template string, at time.Time) string {
	if template == "" {
		return ""
	}
	day := at.Unix() / int64(24*time.Hour/time.Second)
	t.mu.Lock()
	defer t.mu.Unlock()
	// A request may be of the day before, and a clock that was ahead is set back.
	if day > t.day || day < t.day-1 || t.apis == nil {
		t.day, t.apis = day, map[string]map[string]string{}
	}
	of := t.apis[apiID]
	if s, ok := of[template]; ok {
		return s
	}
	if len(of) >= mostTemplates {
		return ""
	}
	if of == nil {
		of = map[string]string{}
		t.apis[apiID] = of
	}
	s := strings.Clone(template)
	of[s] = s
	return s
}

// noteUse keeps for the record what the program says with the head of its response, and begins to count what a response uses whose
// length is not known: that goes on after the head.
func (x *exchange) noteUse(res *http.Response) {
	u := x.answer.usage
	if u == nil {
		return
	}
	use := useIn(&x.answer.head.fieldList)
	u.CPU, u.Route = use.cpu, x.gateway.templates.known(u.APIID, use.route, u.Time)
	if res.ContentLength < 0 && res.Body != http.NoBody || res.StatusCode == http.StatusSwitchingProtocols {
		x.counting, x.cpuAtHead = true, x.lease.CPUShare()
	}
}

// addUse adds what was used since the head. It is called before the record is kept.
func (x *exchange) addUse() {
	if x.counting {
		x.counting = false
		x.answer.usage.CPU += max(x.lease.CPUShare()-x.cpuAtHead, 0)
	}
}
