package gateway

// Event is a request to an API that met a limit or a timeout, or an answer that was no HTTP: what an API's owner should know of,
// and what is not told by how a program ends.
type Event struct {
	API, RequestID string
	Version        int    // 0: it did not come so far
	Word           string // the type of the problem
	Status         int    // of the answer; 0: none was begun
	Method, Path   string // as in usage records
}

// told are the problems that are Events. That a consumer left, has no key, or that the program ended, is none.
var told = map[string]bool{
	wordRateLimited: true, wordOverQuota: true, wordTooManyAtOnce: true,
	wordQueueFull: true, wordQueueTimeout: true, wordOverloaded: true, wordNoRoom: true,
	wordBodyTooLarge: true, wordBodyTimeout: true,
	wordConnectTimeout: true, wordRequestTimeout: true, wordTotalTimeout: true, wordIdleTimeout: true,
	wordBadResponse: true,
}

// tell has an Event told where the answer, whose usage record is kept, is one. Requests without a record are none: whoever has
// no key fills nobody's log.
func (a *answer) tell() {
	tell := a.gateway.config.Tell
	if a.word == "" || tell == nil || !told[a.word] {
		return
	}
	u := a.usage
	tell(Event{API: u.APIID, RequestID: u.ID, Version: u.Version, Word: a.word, Status: a.status, Method: u.Method, Path: u.Path})
}
