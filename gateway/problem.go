package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"apibuilder/sandbox"
	"apibuilder/store"
)

// The words that the gateway adds to the reasons of package sandbox. They are the type of a problem body and the Error
// of a usage record, and do not change.
const (
	wordNotFound           = "not_found"
	wordUnknownAPI         = "unknown_api"
	wordMissingKey         = "missing_key"
	wordInvalidKey         = "invalid_key"
	wordConflictingKeys    = "conflicting_keys"
	wordWrongAPI           = "wrong_api"
	wordExpiredKey         = "expired_key"
	wordOutOfScope         = "out_of_scope"
	wordRateLimited        = "rate_limited"
	wordOverQuota          = "over_quota"
	wordMethodNotAllowed   = "method_not_allowed"
	wordMethodNotSupported = "method_not_supported"
	wordBadRequest         = "bad_request"
	wordBadMaxForwards     = "bad_max_forwards"
	wordURLTooLong         = "url_too_long"
	wordHeaderTooLarge     = "header_too_large"
	wordCodingNotSupported = "coding_not_supported"
	wordExpectationFailed  = "expectation_failed"
	wordBodyTimeout        = "body_timeout"
	wordBodyTooLarge       = "body_too_large"
	wordNotDeployed        = "not_deployed"
	wordCORSRefused        = "cors_refused"
	wordServiceWorker      = "service_worker_refused"
	wordBadResponse        = "bad_response"
	wordNoRoom             = "no_room"
	wordNotReady           = "not_ready"
	wordStoreUnavailable   = "store_unavailable"
	wordRequestTimeout     = string(sandbox.RequestTimeout)
	wordConnectTimeout     = "connect_timeout"
	wordTotalTimeout       = "total_timeout"
	wordQueueTimeout       = "queue_timeout"
	wordQueueFull          = "queue_full"
	wordOverloaded         = "overloaded"
	wordTooManyAtOnce      = "too_many_at_once"
	wordDraining           = string(sandbox.Draining)
	wordInternal           = "internal"

	// Only in records: nobody is left to read them, or the answer had begun.
	wordClientGone  = "client_gone"
	wordIdleTimeout = "idle_timeout"
)

type problemKind struct {
	status int
	title  string
	detail string
}

// problems is the one table from words to answers. Details are fixed sentences: what a program said is for its author.
var problems = map[string]problemKind{
	wordNotFound:   {404, "Not found", "There is nothing at this address. APIs are below /run/{api_id}/."},
	wordUnknownAPI: {404, "Unknown API", "No API has this id or name."},
	wordMissingKey: {
		401, "API key required",
		"Send the key of this API as X-API-Key: ab_... or as Authorization: Bearer ab_...",
	},
	wordInvalidKey:         {401, "API key not valid", "The key is unknown or was revoked. Ask the API's owner for a new one."},
	wordConflictingKeys:    {401, "More than one API key", "Send exactly one key, in one header field."},
	wordWrongAPI:           {403, "API key of another API", "The key is valid, but not for this API."},
	wordExpiredKey:         {401, "Expired key", "The API key was good until a time that is over. Ask for another one."},
	wordOutOfScope:         {403, "Out of scope", "The API key is for other methods and paths of this API."},
	wordRateLimited:        {429, "Too many requests", "Wait for the seconds in Retry-After. The RateLimit fields name the limit."},
	wordOverQuota:          {429, "Over quota", "The requests of this month are used up. They begin anew on the first of the next month, UTC."},
	wordMethodNotAllowed:   {405, "Method not allowed", "This address takes GET and HEAD."},
	wordMethodNotSupported: {501, "Method not supported", "The gateway itself opens no tunnels and reflects no requests."},
	wordBadRequest:         {400, "Bad request", "The request is not valid HTTP, or could be understood in two ways."},
	wordBadMaxForwards:     {400, "Bad Max-Forwards", "The header field Max-Forwards of OPTIONS and TRACE is one number without a sign."},
	wordURLTooLong:         {414, "Address too long", "The request's address is longer than this server accepts."},
	wordHeaderTooLarge:     {431, "Header too large", "The request's header fields are more or larger than this server accepts."},
	wordCodingNotSupported: {501, "Transfer coding not supported", "The only transfer coding that this server knows is chunked."},
	wordExpectationFailed:  {417, "Expectation failed", "The only expectation that this server knows is 100-continue."},
	wordBodyTimeout:        {408, "Request body too slow", "The request body did not arrive in time."},
	wordBodyTooLarge:       {413, "Request body too large", "The request body is larger than this server accepts."},
	wordNotDeployed:        {502, "API not deployed", "No version of this API was deployed successfully yet."},
	wordCORSRefused:        {403, "Origin not allowed", "The API's owner does not let pages of this origin call it."},
	wordServiceWorker:      {403, "No service workers", "Addresses below /run/ are shared: serve the API at a host name of its own."},
	wordBadResponse:        {502, "Bad response", "The API's answer was not valid HTTP, or broke off."},
	wordNoRoom:             {503, "No room", "All places for running APIs are busy. Try again soon."},
	wordNotReady:           {503, "Not ready", "The server cannot take requests now."},
	wordStoreUnavailable:   {503, "Store unavailable", "The server cannot look up this API now. Try again soon."},
	wordRequestTimeout:     {504, "Too slow", "The API did not answer in time."},
	wordConnectTimeout:     {504, "No connection", "The API took no connection in time: too many wait for it already."},
	wordIdleTimeout:        {504, "Stalled", "The API began to answer and went no further."},
	wordTotalTimeout:       {504, "Too long", "The API did not finish its answer in the time that its owner allows."},
	wordQueueTimeout:       {503, "Busy", "The API is busy, and no place became free in time. Try again soon."},
	wordQueueFull:          {503, "Busy", "The API is busy, and as many requests as may wait for it do. Try again soon."},
	wordOverloaded:         {503, "Overloaded", "The server has as many requests for this API, or connections, as it can hold. Try again soon."},
	wordTooManyAtOnce:      {429, "Too many requests at once", "This key has as many requests under way as it may. Wait for their answers."},
	wordDraining:           {503, "Restarting", "The API is being replaced, and may have done what was asked or not. Send again what may happen twice."},
	wordInternal:           {500, "Internal error", "The server failed. Its log has the details under the request id."},

	string(sandbox.OutOfMemory):      {502, "Out of memory", "The API was ended at its memory limit."},
	string(sandbox.TooManyProcesses): {502, "Too many processes", "The API ended after it had hit its process limit."},
	string(sandbox.DiskFull):         {502, "Disk full", "The API ended after it had filled its disk."},
	string(sandbox.ImportError):      {502, "Import error", "The API's code raised an error while it was imported."},
	string(sandbox.NoApp):            {502, "No application", "The API's code defines no application."},
	string(sandbox.StartupFailed):    {502, "Startup failed", "The API's startup code raised an error."},
	string(sandbox.StartTimeout):     {502, "Start timeout", "The API did not start in time."},
	string(sandbox.KilledBySeccomp):  {502, "Forbidden system call", "The API was ended for a forbidden system call."},
	string(sandbox.Crashed):          {502, "Crashed", "The API crashed."},
	string(sandbox.Unhealthy):        {502, "Unhealthy", "The API did not answer on its health path."},
	string(sandbox.CrashLoop):        {502, "Crash loop", "The API failed many times in a row and is not started for a while."},
	string(sandbox.SandboxFailed):    {502, "Sandbox failed", "The server could not make a sandbox for the API."},
}

// problemOf finds a word in the table. A word that is not there is a newer reason of package sandbox.
func problemOf(word string) problemKind {
	if kind, known := problems[word]; known {
		return kind
	}
	return problemKind{http.StatusBadGateway, "The API failed", "The API did not answer."}
}

// problemBody is application/problem+json, RFC 9457.
type problemBody struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// problem answers with the problem that word stands for, unless an answer has begun: then that is cut off.
func (a *answer) problem(word string) {
	a.word = word
	if a.status != 0 {
		a.abort = true
		return
	}
	status, body := problemText(word, a.id)
	a.head.clear()
	a.head.setProblem(word, status, len(body))
	a.settleBody()
	a.WriteHeader(status)
	if a.request.Method != http.MethodHead {
		a.length = int64(len(body))
		_, _ = a.Write(body) // a consumer that is gone has its record
	}
}

// problemText is the body of a problem.
func problemText(word, id string) (status int, body []byte) {
	kind := problemOf(word)
	body, _ = json.Marshal(problemBody{word, kind.title, kind.status, kind.detail, id}) // strings and a number
	return kind.status, append(body, '\n')
}

func (l *fieldList) setProblem(word string, status, length int) {
	l.add("Content-Type", "application/problem+json")
	l.add("Cache-Control", "no-store")
	l.add("X-Content-Type-Options", "nosniff")
	l.add("Content-Length", strconv.Itoa(length))
	if name, value := problemField(word, status); name != "" {
		l.add(name, value)
	}
}

// problemField is the header field that a status demands (RFC 9110) or that helps a client to come back; none for most.
func problemField(word string, status int) (name, value string) {
	switch status {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="apibuilder"`
		if word == wordInvalidKey || word == wordExpiredKey {
			challenge += `, error="invalid_token"`
		}
		return "Www-Authenticate", challenge
	case http.StatusMethodNotAllowed:
		return "Allow", "GET, HEAD"
	case http.StatusServiceUnavailable, http.StatusTooManyRequests: // a rate limit puts its own time there
		return "Retry-After", "1"
	}
	return "", ""
}

// wordOf turns what Acquire and the directory return into a word. An error that is not known is internal.
func wordOf(err error) string {
	var exit *sandbox.Exit
	switch {
	case errors.As(err, &exit):
		return cmp.Or(string(exit.Reason), wordInternal)
	case errors.Is(err, sandbox.ErrNoRoom):
		return wordNoRoom
	case errors.Is(err, sandbox.ErrStopped):
		return wordDraining
	case errors.Is(err, store.ErrNotFound):
		return wordUnknownAPI
	case errors.Is(err, errStore), errors.Is(err, store.ErrUnavailable):
		return wordStoreUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return wordRequestTimeout
	}
	return wordInternal
}
