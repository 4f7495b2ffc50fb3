package gateway

import "net/http"

// answerPreflight answers the question that a browser asks before a request to another origin, where the gateway answers for
// the program: because the API's options say so, or because a page below /run asks. It reports whether it has answered.
func (a *answer) answerPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	origin, policy := r.Header.Get("Origin"), a.cors
	if policy == nil && origin == opaqueOrigin && a.from.shared() {
		policy = ofSandbox
	}
	switch {
	case policy == nil || !isPreflight(r, secretsIn(r.Header, nil)):
		return false
	case !policy.allows(origin):
		a.problem(wordCORSRefused)
		return true
	}
	a.preflight = true
	policy.permit(&a.head.fieldList, r.Header)
	a.WriteHeader(http.StatusNoContent)
	return true
}
