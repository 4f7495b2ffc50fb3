package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"apibuilder/ratelimit"
	"apibuilder/store"
)

// Store is what the gateway reads. store.Store is one; the contracts are there.
type Store interface {
	API(ctx context.Context, idOrName string) (store.API, error)
	KeyByHash(ctx context.Context, hash [32]byte) (store.Key, error)
	User(ctx context.Context, idOrName string) (store.User, error)
	Plan(ctx context.Context, name string) (store.Plan, error)
	Hosts(ctx context.Context) (map[string]string, error)
	Subscribe(fn func(store.Change)) (cancel func())
}

// The bounds of what a directory remembers. Known and unknown things have places of their own, so that guessing pushes
// nothing out that is in use.
const (
	mostAPIs     = 1 << 14 // each under its id and its name
	mostKeys     = 1 << 16
	mostUnknown  = 1 << 12
	mostStranger = 1 << 14
	mostLoads    = 16 // at once

	loadTimeout = 10 * time.Second

	// With an older answer at hand, so long is waited for the store, and it is left alone so long after it failed.
	staleWait  = 500 * time.Millisecond
	staleRetry = time.Second
)

var errStore = errors.New("read the store")

// entry is what a request needs to know of an API. All but keys never changes once it is in the directory.
type entry struct {
	id         string
	name       string
	userID     string // its owner
	public     bool
	publicDocs bool
	options    store.Options
	version    int

	publicPaths []publicPath
	cors        *corsPolicy

	checks  []ratelimit.Check  // of the owner's plan and the API, those that have a limit
	quotas  []ratelimit.Quota  // the same of the month
	address ratelimit.Limit    // of each address that calls without a key
	keys    map[[32]byte]*pass // keys that open this API, expired ones too; guarded by the directory's mutex
}

// directory remembers APIs and keys until the store says that something changed. What was read before a change is never
// remembered after it: each change begins a new generation, and a load is kept only in the generation it began in. Keys
// live in their API's entry, so that forgetting the entry forgets them.
//
// What is known stays known while the store is away. What was forgotten because a plan, a user or a token changed is kept
// aside with its keys, and counts again while the store cannot be read. What was forgotten because the API itself changed is
// gone: the change may be the revocation of a key. Safe for concurrent use.
type directory struct {
	store  Store
	quotas Quotas
	reads  *reads
	cancel func()

	mu         sync.RWMutex
	generation uint64
	apis       map[string]*entry // by id and by name
	keys       int               // in all entries
	stale      map[string]*entry // as apis, from before a change of plans or users
	away       time.Time         // the store failed lately: until then, what is stale is good enough
	unknown    map[string]struct{}
	strangers  map[[32]byte]*pass // secrets that are no keys, and keys that were presented to another API
}

func newDirectory(st Store, quotas Quotas) *directory {
	d := &directory{store: st, quotas: quotas, reads: newReads(mostLoads), stale: make(map[string]*entry)}
	d.forgetLocked()
	d.cancel = st.Subscribe(d.changed)
	return d
}

// close ends the subscription.
func (d *directory) close() { d.cancel() }

// changed is called by the store after a commit. Key revocations come this way: the next request reads the store.
func (d *directory) changed(c store.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.APIID == "" {
		d.setAsideLocked()
		d.forgetLocked()
		return
	}
	d.generation++
	d.unknown = make(map[string]struct{})
	d.strangers = make(map[[32]byte]*pass)
	if e := d.apis[c.APIID]; e != nil {
		delete(d.apis, e.id)
		delete(d.apis, e.name)
		d.keys -= len(e.keys)
	}
	d.dropStaleLocked(c.APIID)
}

// setAsideLocked keeps what is known for the time when the store cannot be read.
func (d *directory) setAsideLocked() {
	if len(d.stale) >= 2*mostAPIs {
		d.stale = make(map[string]*entry)
	}
	maps.Copy(d.stale, d.apis)
}

func (d *directory) dropStaleLocked(id string) {
	if e := d.stale[id]; e != nil { // by id or by name
		delete(d.stale, e.id)
		delete(d.stale, e.name)
	}
}

func (d *directory) forgetLocked() {
	d.generation++
	d.apis = make(map[string]*entry)
	d.unknown = make(map[string]struct{})
	d.strangers = make(map[[32]byte]*pass)
	d.keys = 0
}

// api finds an API by id or name. Errors: store.ErrNotFound, errStore, the context's.
func (d *directory) api(ctx context.Context, ref string) (*entry, error) {
	d.mu.RLock()
	e := d.apis[ref]
	_, unknown := d.unknown[ref]
	stale := d.stale[ref]
	away := stale != nil && time.Now().Before(d.away)
	generation := d.generation
	d.mu.RUnlock()
	switch {
	case e != nil:
		return e, nil
	case unknown:
		return nil, store.ErrNotFound
	case stale != nil && away:
		return stale, nil
	}
	if stale == nil {
		return d.loadAPI(ctx, generation, ref)
	}
	wait, cancel := context.WithTimeout(ctx, staleWait)
	defer cancel()
	e, err := d.loadAPI(wait, generation, ref)
	if err != nil && ctx.Err() == nil && (errors.Is(err, errStore) || wait.Err() != nil) {
		return d.fallBack(ref, err)
	}
	return e, err
}

// peek returns what is known of an API, or nothing, and has that read then. It does not wait.
func (d *directory) peek(id string) *entry {
	d.mu.RLock()
	e := d.apis[id]
	_, unknown := d.unknown[id]
	generation := d.generation
	d.mu.RUnlock()
	if e == nil && !unknown {
		d.reads.begin(nameOfAPI(generation, id), d.apiReader(generation, id))
	}
	return e
}

func (d *directory) loadAPI(ctx context.Context, generation uint64, ref string) (*entry, error) {
	e, err := d.reads.do(ctx, nameOfAPI(generation, ref), d.apiReader(generation, ref))
	if err != nil {
		return nil, err
	}
	return e.(*entry), nil
}

// nameOfAPI names a question. The generation is part of it: who asks after a change must not get what was read before it.
func nameOfAPI(generation uint64, ref string) string {
	return strconv.FormatUint(generation, 10) + " api " + ref
}

func (d *directory) apiReader(generation uint64, ref string) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		e, err := d.readAPI(ctx, ref)
		d.rememberAPI(generation, ref, e, err)
		return e, err
	}
}

// fallBack returns what was known of an API before, unless that is gone by now, and leaves the store alone for a moment.
func (d *directory) fallBack(ref string, err error) (*entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = time.Now().Add(staleRetry)
	if e := d.stale[ref]; e != nil {
		return e, nil
	}
	if errors.Is(err, errStore) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: API: %w", errStore, err)
}

// pass finds out what a secret is worth at an API; never nil without an error.
func (d *directory) pass(ctx context.Context, e *entry, secret string) (*pass, error) {
	if !possibleKey(secret) {
		return &pass{}, nil
	}
	hash := connIn(ctx).hashOf(secret)
	d.mu.RLock()
	p := e.keys[hash]
	if p == nil {
		p = d.strangers[hash]
	}
	generation := d.generation
	d.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	return d.loadPass(ctx, e, generation, hash)
}

// loadPass reads a pass. It is apart from pass because the hash is on the heap here.
func (d *directory) loadPass(ctx context.Context, e *entry, generation uint64, hash [32]byte) (*pass, error) {
	name := strconv.FormatUint(generation, 10) + " key " + e.id + " " + string(hash[:]) // as in nameOfAPI
	p, err := d.reads.do(ctx, name, func(ctx context.Context) (any, error) {
		p, err := d.readKey(ctx, hash)
		if err == nil {
			d.rememberKey(generation, e, hash, p)
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return p.(*pass), nil
}

func (d *directory) readAPI(ctx context.Context, ref string) (*entry, error) {
	a, err := d.store.API(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: API: %w", errStore, err)
	}
	// From here on a missing row is a damaged store: the API must not run without its owner's limits. So that error is
	// told, not wrapped: nobody may take it for an unknown API.
	user, err := d.store.User(ctx, a.UserID)
	if err != nil {
		return nil, fmt.Errorf("%w: owner of %s: %s", errStore, a.ID, err.Error())
	}
	plan, err := d.store.Plan(ctx, user.Plan)
	if err != nil {
		return nil, fmt.Errorf("%w: plan of the owner of %s: %s", errStore, a.ID, err.Error())
	}
	e := &entry{
		id: a.ID, name: a.Name, userID: a.UserID, public: a.Public, publicDocs: a.PublicDocs, options: a.Options,
		version:     a.ActiveVersion,
		publicPaths: newPublicPaths(a.Options.PublicPaths), cors: newCORS(a.Options),
		keys: make(map[[32]byte]*pass), address: addressLimit(a.Options.RatePerAddress),
	}
	e.checks = appendCheck(e.checks, "plan", user.ID, plan.Rate)
	e.checks = appendCheck(e.checks, "api", a.ID, a.Rate)
	for _, q := range []ratelimit.Quota{
		{Policy: "plan", Key: user.ID, Requests: plan.Quota}, {Policy: "api", Key: a.ID, Requests: a.Options.Quota},
	} {
		d.quotas.Found(q)
		e.quotas = appendQuota(e.quotas, q.Policy, q.Key, q.Requests)
	}
	return e, nil
}

func (d *directory) rememberAPI(generation uint64, ref string, e *entry, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.generation != generation:
	case err == nil:
		if len(d.apis) >= 2*mostAPIs {
			d.forgetLocked()
		}
		d.dropStaleLocked(e.id)
		d.apis[e.id], d.apis[e.name] = e, e
	case errors.Is(err, store.ErrNotFound):
		d.dropStaleLocked(ref)
		makeRoom(d.unknown, mostUnknown)
		d.unknown[strings.Clone(ref)] = struct{}{} // not with all of the request's head
	}
}

func (d *directory) rememberKey(generation uint64, e *entry, hash [32]byte, p *pass) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.generation != generation:
	case !p.opens(e):
		makeRoom(d.strangers, mostStranger)
		d.strangers[hash] = p
	case d.apis[e.id] == e: // an entry that was forgotten meanwhile must not count
		if d.keys >= mostKeys {
			d.forgetLocked()
			return
		}
		e.keys[hash] = p
		d.keys++
	}
}

// makeRoom takes one element out of a full map; any will do.
func makeRoom[K comparable, V any](m map[K]V, most int) {
	if len(m) < most {
		return
	}
	for k := range m {
		delete(m, k)
		return
	}
}
