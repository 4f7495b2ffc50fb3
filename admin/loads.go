package admin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// What is worked on at a time is in memory: bodies and archives of deploys, and answers until their clients have taken them. So that nobody with
// a token fills the memory that all programs are served from, it is bounded for each token and for all together. Root is not.
const (
	mostRequests = 64 // of a token
	mostReads    = 8  // of them those that read something and do not stream it: further ones wait
	mostSearches = 2  // of a token's, through logs: package logs has four places for all, and a search may keep one for long
	mostTasks    = 8  // pieces of one-off code of one user's

	freeBytes  = 1 << 20 // bodies and answers up to here count as requests alone
	tokenBytes = 128 << 20
	allBytes   = 256 << 20

	tokenArchives = 2 // each is unpacked, for as long as its deploy takes
	allArchives   = 8

	placeWait = time.Minute // for a place among these
)

// loads are all that is worked on.
type loads struct {
	bytes, archives *semaphore.Weighted

	mu     sync.Mutex
	tokens map[string]*load
	tasks  map[string]int // by user
}

// load is what is worked on for one token.
type load struct {
	requests                         int
	reads, searches, bytes, archives *semaphore.Weighted
}

func newLoads() *loads {
	return &loads{
		bytes: semaphore.NewWeighted(allBytes), archives: semaphore.NewWeighted(allArchives),
		tokens: map[string]*load{}, tasks: map[string]int{},
	}
}

// visit is what one request has of the loads. A nil one is root's, and has whatever it asks for.
type visit struct {
	all                    *loads
	own                    *load
	token                  string
	reads, bytes, archives int64
}

// enter begins a request of a token; leave ends it.
func (l *loads) enter(token string) (*visit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.tokens[token]
	if own == nil {
		own = &load{
			reads: semaphore.NewWeighted(mostReads), searches: semaphore.NewWeighted(mostSearches),
			bytes: semaphore.NewWeighted(tokenBytes), archives: semaphore.NewWeighted(tokenArchives),
		}
		l.tokens[token] = own
	}
	if own.requests >= mostRequests {
		return nil, tooMany(fmt.Sprintf("%d requests with this token are worked on", own.requests))
	}
	own.requests++
	return &visit{all: l, own: own, token: token}, nil
}

func (v *visit) leave() {
	v.own.reads.Release(v.reads)
	v.own.bytes.Release(v.bytes)
	v.own.archives.Release(v.archives)
	v.all.bytes.Release(v.bytes)
	v.all.archives.Release(v.archives)
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if v.own.requests--; v.own.requests == 0 {
		delete(v.all.tokens, v.token)
	}
}

// read waits for a place among the token's requests that read.
func (v *visit) read(ctx context.Context) error {
	if v == nil {
		return nil
	}
	if err := take(ctx, v.own.reads, 1, tooMany("many requests with this token read at a time")); err != nil {
		return err
	}
	v.reads++
	return nil
}

// search waits for a place among the token's searches; end gives it back.
func (v *visit) search(ctx context.Context) (end func(), err error) {
	if v == nil {
		return func() {}, nil
	}
	err = take(ctx, v.own.searches, 1, tooMany("logs are searched with this token"))
	return func() { v.own.searches.Release(1) }, err
}

// hold waits until the request may have so many bytes in memory, those included that it has already.
func (v *visit) hold(ctx context.Context, bytes int64) error {
	if v == nil || bytes <= max(v.bytes, freeBytes) {
		return nil
	}
	more := min(bytes, tokenBytes) - v.bytes
	if more <= 0 {
		return nil
	}
	if err := take(ctx, v.own.bytes, more, tooMany("requests with this token have many bytes under way")); err != nil {
		return err
	}
	if err := take(ctx, v.all.bytes, more, noMemory); err != nil {
		v.own.bytes.Release(more)
		return err
	}
	v.bytes += more
	return nil
}

// let gives the bytes back that the request holds.
func (v *visit) let() {
	if v == nil {
		return
	}
	v.own.bytes.Release(v.bytes)
	v.all.bytes.Release(v.bytes)
	v.bytes = 0
}

// unpack waits until the request may have an archive unpacked. Whoever waits here may hold bytes; who has a place waits for none.
func (v *visit) unpack(ctx context.Context) error {
	if v == nil {
		return nil
	}
	if err := take(ctx, v.own.archives, 1, tooMany("archives are deployed with this token")); err != nil {
		return err
	}
	if err := take(ctx, v.all.archives, 1, noMemory); err != nil {
		v.own.archives.Release(1)
		return err
	}
	v.archives++
	return nil
}

// take waits for a part of what there is, no longer than placeWait; then the error is full.
func take(ctx context.Context, of *semaphore.Weighted, n int64, full error) error {
	bounded, cancel := context.WithTimeout(ctx, placeWait)
	defer cancel()
	if of.Acquire(bounded, n) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return full
}

// run takes a place for one-off code of a user; end gives it back.
func (l *loads) run(user string) (end func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tasks[user] >= mostTasks {
		return nil, tooMany(fmt.Sprintf("%d pieces of this user's code run beside programs", mostTasks))
	}
	l.tasks[user]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.tasks[user]--; l.tasks[user] == 0 {
			delete(l.tasks, user)
		}
	}, nil
}

func tooMany(what string) error {
	return &requestError{"too_many", what + ", and no more are taken", "wait for the others to end, then send it again"}
}

var noMemory = &requestError{"no_room", "there is no room for another large request now", "try again soon"}

// admitted serves a request when its token has a place for it.
func (s *Server) admitted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := callerOf(r.Context())
		v, err := s.loads.enter(c.token)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		defer v.leave()
		c.visit = v
		next(w, asCaller(r, c))
	}
}

// take waits for what is known beforehand of what a request takes.
func (op operation) take(r *http.Request, limit int64) error {
	v := callerOf(r.Context()).visit
	switch {
	case op.body != nil && r.ContentLength < 0: // it does not say how much it will be
		return v.hold(r.Context(), limit)
	case op.body != nil:
		return v.hold(r.Context(), min(r.ContentLength, limit))
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !op.stream:
		return v.read(r.Context())
	}
	return nil
}
