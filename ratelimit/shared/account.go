package shared

import (
	"time"

	"apibuilder/ratelimit"
)

const (
	leastAhead  = 16               // permits that are taken in advance, where there are many
	aheadOfRest = 16               // at most such a part of what is left of a quota is taken in advance
	rateSpan    = time.Second      // what is used in it is taken in advance
	denyAgain   = time.Second      // until a quota that is used up is asked for again: others may have given some back
	readAgain   = time.Minute      // until what was used is read again, because requests may have been counted without a quota
	idleAfter   = 10 * time.Second // without a request, permits are given back
)

// account holds the permits of one quota in one month at this node. The Monthly's mutex guards it.
type account struct {
	of    ratelimit.Quota // Requests as of the last request
	month time.Time

	held  int64 // permits
	given int64 // to all nodes, by the last answer
	known bool  // given is
	extra int64 // to be told with the next question, see QuotaAsk

	asking      bool
	answered    chan struct{} // closed when the ledger answered or failed
	waiting     int64         // requests that wait for it
	err         error         // of the last question; nil: it was answered
	nextTry     time.Duration // not before, after an error
	deniedUntil time.Duration
	readAt      time.Duration // when Used was read; 0: never, or it is to be read again

	size     int64 // of the last grant
	used     int64 // since usedFrom
	usedOf   int64 // in as much time before that
	usedFrom time.Duration
	lastUse  time.Duration
}

// want takes in what the quota is now. Permits of another quota are given back, because together with what others hold they may be
// more than this one has.
func (a *account) want(q ratelimit.Quota, now time.Duration) {
	a.lastUse = now
	if a.of.Requests == q.Requests {
		return
	}
	a.of = q
	a.giveBack()
	a.deniedUntil = 0
}

// giveBack has the next question return what is held.
func (a *account) giveBack() {
	a.extra, a.held, a.readAt = a.extra-a.held, 0, 0
}

// take uses one permit, which must be there, and reports whether to ask for more before the last one is used.
func (a *account) take(now time.Duration) (ask bool) {
	a.held--
	a.count(now)
	return !a.asking && 2*a.held <= a.size && a.ahead() > a.held && now >= max(a.nextTry, a.deniedUntil)
}

// ahead is how many permits are held in advance: what was used lately, where enough of the quota is left.
func (a *account) ahead() int64 {
	return min(max(a.used+a.usedOf, leastAhead), (a.of.Requests-a.given)/aheadOfRest)
}

func (a *account) count(now time.Duration) {
	switch passed := now - a.usedFrom; {
	case passed >= 2*rateSpan:
		a.usedOf, a.used, a.usedFrom = 0, 0, now
	case passed >= rateSpan:
		a.usedOf, a.used, a.usedFrom = a.used, 0, a.usedFrom+rateSpan
	}
	a.used++
}

// ask is the question for more.
func (a *account) ask() QuotaAsk {
	q := a.settle()
	q.Want = a.waiting
	if a.known {
		q.Want = max(q.Want, a.ahead()-a.held)
	}
	return q
}

// settle is the question that tells what is to be told and asks for nothing. What is given back with it is no longer this account's,
// whatever becomes of the question.
func (a *account) settle() QuotaAsk {
	q := QuotaAsk{Policy: a.of.Policy, Key: a.of.Key, Month: a.month, Quota: a.of.Requests, Extra: a.extra}
	a.extra = 0
	return q
}

// granted takes an answer in.
func (a *account) granted(q QuotaAsk, g QuotaGrant, now time.Duration) {
	a.given, a.known, a.err = g.Given, true, nil
	if q.Quota != a.of.Requests { // the quota was changed meanwhile
		a.extra -= g.Granted
		return
	}
	a.held += g.Granted
	a.size, a.deniedUntil = a.held, 0
	if q.Want > 0 && g.Granted == 0 {
		a.deniedUntil = now + denyAgain
	}
}

// failed takes in that there was no answer. What was to be counted will be told again; permits that were given back may have been
// taken already, and are lost.
func (a *account) failed(q QuotaAsk, err error, now time.Duration) {
	a.extra += max(q.Extra, 0)
	a.err, a.nextTry = err, now+retryEvery
}

// answer wakes those who wait.
func (a *account) answer() {
	close(a.answered)
	a.answered, a.asking, a.waiting = make(chan struct{}), false, 0
}
