// Package store holds the platform's nouns and the contract of what keeps them. It imports nothing of this module, so
// that every other package can speak its words. The drivers are in the packages below it (sqlite, postgres); storetest is the
// conformance suite that each of them passes.
package store

import (
	"context"
	"errors"
	"time"
)

// Neutral errors. Drivers turn their library's errors into these, wrapped with what was asked for; callers use errors.Is.
var (
	// ErrNotFound says that there is no row with that id, name or hash.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the id or name is taken.
	ErrConflict = errors.New("already exists")
	// ErrUnavailable says that the store cannot be reached now, or takes no changes; the same call may work later. Whether a write that ended so
	// was carried out is not known.
	ErrUnavailable = errors.New("the database cannot be reached")
)

// Rate is a number of requests in a span of time. The zero value means no limit.
type Rate struct {
	Requests int           `json:"requests"`
	Per      time.Duration `json:"per"`
}

// Unlimited reports whether r admits everything.
func (r Rate) Unlimited() bool { return r.Requests <= 0 || r.Per <= 0 }

// API is what an author deployed under one name. CodeSnapshot and Requirements are those of the active version, kept in
// the row because the platform that this one replaces has them there and other programs read them.
type API struct {
	ID            string // "api_" and 16 characters of lower-case base32: usable in a URL, never a valid name
	Name          string // see ValidName; unique
	UserID        string // owner; its plan's rate applies to all of the owner's APIs together
	Public        bool   // consumers need no key
	PublicDocs    bool   // GET and HEAD of /docs, /redoc and /openapi.json need no key, so that a browser can open them
	CodeSnapshot  string
	Requirements  string
	ActiveVersion int // 0 while no version has ever taken traffic
	Rate          Rate
	Options       Options
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// VersionState is how far a version came.
type VersionState string

// The states of a version. A version goes from building to one of the others and stays there.
const (
	VersionBuilding VersionState = "building"
	VersionReady    VersionState = "ready"
	VersionFailed   VersionState = "failed"
)

// Limits bound one sandbox. A zero field sets nothing: whoever is asked next decides (see Plan).
type Limits struct {
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	CPU         float64 `json:"cpu,omitempty"` // cores
	Pids        int     `json:"pids,omitempty"`
}

// Version is one immutable deploy of an API. Only State, Environment, Lock, Failure and Detail change after it was added.
type Version struct {
	APIID        string
	Number       int    // from 1, by API, without gaps
	Code         string // of a program of several files that of its entry point
	Requirements string
	Python       string            // as asked for, "3.11"; empty: the server's default
	Env          map[string]string // secrets: never logged, never printed
	Limits       Limits            // as asked for; what holds is decided at each start, see Plan
	State        VersionState
	Environment  string // key of the built environment, empty until built
	Lock         string // what it was built from: packages at versions with their hashes; once written it stays
	Failure      string // reason word when State is failed
	Detail       string // what its author reads: the traceback, the resolver's sentence
	Node         string // id of the node that deploys it; empty: made before there were nodes
	Bundle       string // hash of the files, see PutBundle; empty: it is one text
	Entry        string // module that it begins with, "pkg.main" or "pkg.main:app"; with the fields below, of several files
	Files        int
	FileBytes    int64 // of all together
	CreatedAt    time.Time
}

// VersionSummary is a version in a list: Code, Lock and Env are empty, because an API has any number of versions and each of them may be
// large.
type VersionSummary struct {
	Version
	CodeBytes int // of Code
}

// Summary is what a list has of v.
func (v Version) Summary() VersionSummary {
	s := VersionSummary{v, len(v.Code)}
	s.Code, s.Lock, s.Env = "", "", nil
	return s
}

// EnvironmentUse says that a version has an environment.
type EnvironmentUse struct {
	Environment string // its key
	API         string // name
	Version     int
}

// User owns APIs and belongs to a plan.
type User struct {
	ID        string // "user_" and 16 characters, or "operator"
	Name      string // unique
	Plan      string
	CreatedAt time.Time
}

// OperatorID is the user that every store is born with; it belongs to DefaultPlan.
const OperatorID = "operator"

// DefaultPlan is the plan that every store is born with; it has no limit until the operator sets one.
const DefaultPlan = "default"

// Plan is a named set of limits for the APIs of its users.
type Plan struct {
	Name    string
	Rate    Rate   // over all requests to all APIs of one user
	Quota   int64  // requests a calendar month (UTC) to all APIs of one user; 0: no limit
	Limits  Limits // of an API whose version asks for nothing; a zero field is the server's default
	Ceiling Limits // the most that a version may ask for and get; a zero field is the server's ceiling
	// Instances is the most that options of an API may ask for and get.
	Instances Instances
}

// Instances bound how many sandboxes of one API run at a time. A zero field is no bound.
type Instances struct {
	Max int // of max-instances
	Min int // of min-instances, which run although nobody calls
}

// Token opens the management API over TCP. Stored like a Key.
type Token struct {
	ID        string // "tok_" and 16 characters
	Name      string
	Prefix    string
	Hash      [32]byte
	Role      Role   // empty when it is stored: RoleOperator
	UserID    string // whose APIs it is for; RoleAuthor needs one, RoleOperator has none, RoleReader without one reads everything
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time
}

// Role is what a token may do.
type Role string

// The roles.
const (
	RoleOperator Role = "operator" // everything
	RoleAuthor   Role = "author"   // deploy, look at and change the APIs of its user
	RoleReader   Role = "reader"   // look, and change nothing
)

// Usage is the record of one consumer's request.
type Usage struct {
	ID        string // the request id; a record with a known id is not counted again
	APIID     string
	Version   int
	KeyID     string // empty: public
	Time      time.Time
	Method    string
	Path      string // without the query
	Route     string // the program's route template; empty where it is not known
	Node      string // which server answered
	Status    int    // 499 when the consumer went away before an answer
	Error     string // reason word when the gateway answered with an error
	BytesIn   int64
	BytesOut  int64
	Duration  time.Duration
	StartWait time.Duration // how long it waited for a sandbox to start
	CPU       time.Duration // its share of what the program used; zero where it is not known
}

// UsageFilter selects usage records; zero fields select everything.
type UsageFilter struct {
	APIID  string
	KeyID  string
	ID     string
	Since  time.Time
	Until  time.Time // exclusive
	Before Position  // of records: those after it in the list
	Limit  int       // newest first; 0: 100
}

// Exit is how a sandbox ended, or why one did not start.
type Exit struct {
	APIID   string
	Version int
	Reason  string
	Detail  string
	Output  string // the last of what the program printed
	Time    time.Time
}

// Change says that something about one API (APIID set) or about users, plans or tokens (APIID empty) was committed. A key
// of a user is told of as a change of each of its APIs.
type Change struct{ APIID string }

// Check looks at a row as it is in the transaction that is about to change it. Its error leaves everything as it is and is
// returned, wrapped. It must be quick and must not call the store, and may be asked again.
type Check[T any] func(T) error

// Pass returns the first error of checks. Drivers call it.
func Pass[T any](now T, checks []Check[T]) error {
	for _, check := range checks {
		if err := check(now); err != nil {
			return err
		}
	}
	return nil
}

// Store keeps the nouns. All methods may be called concurrently, honour their context, and return errors that wrap the
// neutral ones above. Times are stored in UTC with microseconds. What a method writes is written whole or not at all.
type Store interface {
	// CreateAPI adds a with its zero times set to now; ErrConflict when the id, name or host is taken. Ids and names are addresses alike: no
	// name is another API's id.
	CreateAPI(ctx context.Context, a API) (API, error)
	// API finds one by id or by name.
	API(ctx context.Context, idOrName string) (API, error)
	// HasAPIs reports whether there is any API.
	HasAPIs(ctx context.Context) (bool, error)
	// APIs lists all, by name.
	APIs(ctx context.Context) ([]API, error)
	// FindAPIs lists, by name, those that a filter selects, without their CodeSnapshot and Requirements.
	FindAPIs(ctx context.Context, f APIFilter) ([]API, error)
	// ChangeAPI calls change with the API with that id as it is, and writes Public, PublicDocs, Rate, Options and UserID of what
	// change returns, in one transaction: nobody else's change comes in between. An error of change leaves the API as it is and is
	// returned, wrapped. ErrConflict when the host is taken. change must be quick and must not call the store; it may be called again.
	ChangeAPI(ctx context.Context, id string, change func(API) (API, error)) (API, error)
	// Hosts are the host names of all APIs that have one, with the ids of their APIs.
	Hosts(ctx context.Context) (map[string]string, error)
	// DeleteAPI removes the API with its versions, keys and exits; usage records stay.
	DeleteAPI(ctx context.Context, id string, checks ...Check[API]) error

	// PutBundle keeps an archive of a program's files for an API's versions, until the API is deleted. The hash is that of its
	// content: what is there under it stays. It tells nobody. ErrNotFound when there is no such API.
	PutBundle(ctx context.Context, apiID, hash string, archive []byte) error
	// Bundle reads one; ErrNotFound when the API has none of that hash.
	Bundle(ctx context.Context, apiID, hash string) ([]byte, error)
	// AddVersion gives v the API's next number and stores it.
	AddVersion(ctx context.Context, v Version) (Version, error)
	// UpdateVersion writes State, Environment, Failure and Detail, and Lock once: an empty one keeps what is there, another
	// one is an ErrInvalid.
	UpdateVersion(ctx context.Context, v Version) error
	Version(ctx context.Context, apiID string, number int) (Version, error)
	// FindVersions lists, newest first, the versions that a filter selects, without their Code, Lock and Env. Ask for one by its number
	// to have these.
	FindVersions(ctx context.Context, f VersionFilter) ([]VersionSummary, error)
	// Building lists the versions of all APIs whose State is building, by API and number.
	Building(ctx context.Context) ([]Version, error)
	// AlwaysRunning lists the ids of APIs with an active version and MinInstances, in order. It reads no code.
	AlwaysRunning(ctx context.Context) ([]string, error)
	// EnvironmentUses lists the versions of all APIs that have an Environment, by the API's name and number. It reads no code.
	EnvironmentUses(ctx context.Context) ([]EnvironmentUse, error)
	// Activate makes a version the one that serves, and copies its code and requirements into the API's row.
	Activate(ctx context.Context, apiID string, number int) error
	// Reactivate activates a version, 0 for none, if the one named first still serves, and reports whether it did: what another
	// node activated meanwhile stays.
	Reactivate(ctx context.Context, apiID string, from, to int) (bool, error)
	// AbandonAPI deletes an API that never served and has no version but this one, and reports whether it did: what another
	// node deploys under the same name stays.
	AbandonAPI(ctx context.Context, id string, number int) (bool, error)

	// BeatNode adds a node or notes that it lives, by the store's clock. Nodes that said nothing for NodeMemory are forgotten.
	BeatNode(ctx context.Context, n Node) error
	// Nodes lists all, by name and id.
	Nodes(ctx context.Context) ([]Node, error)
	// RemoveNode forgets a node that stops in order; nil when there is none.
	RemoveNode(ctx context.Context, id string) error

	// CreateKey adds a key of an API or of a user; LastUsedAt and what is of a rotation are not written.
	CreateKey(ctx context.Context, k Key) (Key, error)
	// Keys lists an API's keys, revoked ones too, oldest first; those of its owner are not among them.
	Keys(ctx context.Context, apiID string) ([]Key, error)
	// UserKeys lists a user's keys in the same way.
	UserKeys(ctx context.Context, userID string) ([]Key, error)
	// FindKeys lists, oldest first, the keys that a filter selects.
	FindKeys(ctx context.Context, f KeyFilter) ([]Key, error)
	// KeyByHash finds a key by its secret or by the one before its rotation, ended keys too; see Key.Ends.
	KeyByHash(ctx context.Context, hash [32]byte) (Key, error)
	// RotateKey gives a key another secret; the one it has is good until a time, and one that it had before ends. A revoked key
	// is an ErrInvalid, a hash that is taken an ErrConflict.
	RotateKey(ctx context.Context, id, prefix string, hash [32]byte, until time.Time, checks ...Check[Key]) (Key, error)
	// RevokeKey ends a key; revoking again keeps the first time.
	RevokeKey(ctx context.Context, id string, checks ...Check[Key]) (Key, error)

	CreateUser(ctx context.Context, u User) (User, error)
	// User finds one by id or by name.
	User(ctx context.Context, idOrName string) (User, error)
	Users(ctx context.Context) ([]User, error)
	// SetUserPlan moves a user to a plan; ErrNotFound names whichever is missing.
	SetUserPlan(ctx context.Context, userID, plan string, checks ...Check[User]) error
	// PutPlan adds or replaces a plan.
	PutPlan(ctx context.Context, p Plan) error
	// ChangePlan calls change with the plan of that name as it is, one that has no more than its name when there is none, and puts
	// what change returns, as ChangeAPI does.
	ChangePlan(ctx context.Context, name string, change func(now Plan, there bool) (Plan, error)) (Plan, error)
	Plan(ctx context.Context, name string) (Plan, error)
	Plans(ctx context.Context) ([]Plan, error)

	CreateToken(ctx context.Context, t Token) (Token, error)
	Tokens(ctx context.Context) ([]Token, error)
	TokenByHash(ctx context.Context, hash [32]byte) (Token, error)
	RevokeToken(ctx context.Context, id string, checks ...Check[Token]) (Token, error)

	// AddUsage stores records exactly once by ID, in one transaction with the sums and with Key.LastUsedAt: sending a batch again
	// changes nothing. Of records that are sent again, those among the last 65,536 are known at least.
	AddUsage(ctx context.Context, records []Usage) error
	Usage(ctx context.Context, f UsageFilter) ([]Usage, error)
	// CountUsage counts an API's requests with a key since a time, those whose records were removed too; apiID or keyID empty: of all.
	CountUsage(ctx context.Context, apiID, keyID string, since time.Time) (int64, error)
	// SumUsage returns sums by what the filter says, in the order of time, API, key and user.
	SumUsage(ctx context.Context, f SumFilter) ([]Sum, error)
	// AddEgress adds a batch to the sums of what programs reached outside, exactly once: a number of the source that is not greater
	// than the last one changes nothing. A batch without a source is an ErrInvalid.
	AddEgress(ctx context.Context, b EgressBatch) error
	// SumEgress returns sums by what the filter says, in the order of time, API, user and destination.
	SumEgress(ctx context.Context, f EgressFilter) ([]EgressSum, error)
	// PruneUsage removes records from before one time and hourly sums from before another, at most so many of each, the oldest
	// first, and returns how many of both that were; sums of egress go with them. Daily sums stay. Where nodes share the store, the times are
	// reckoned by its clock: those of a node that is ahead of it mean what is as old by the store's.
	PruneUsage(ctx context.Context, records, hours time.Time, most int) (int64, error)

	// AddExit keeps the newest 50 of an API: those that were added last, whatever the clocks say.
	AddExit(ctx context.Context, e Exit) error
	// Exits lists newest first, at most limit.
	Exits(ctx context.Context, apiID string, limit int) ([]Exit, error)

	// AddAudit keeps an entry; see KeptAudit for those that go.
	AddAudit(ctx context.Context, e AuditEntry) error
	// Audit lists newest first.
	Audit(ctx context.Context, f AuditFilter) ([]AuditEntry, error)

	// ClaimAnswer adds an answer that is worked on, unless there is one with its id that has not expired: then that one is returned,
	// and claimed is false. Of many at the same moment one claims. It forgets what has expired.
	ClaimAnswer(ctx context.Context, a Answer) (there Answer, claimed bool, err error)
	// KeepAnswer puts off the time until which an answer is worked on, or with a text ends the work on it; ErrNotFound when it is
	// gone or has a text. Of an owner whose texts are more than KeptAnswerBytes the oldest go.
	KeepAnswer(ctx context.Context, id [32]byte, workedUntil time.Time, text []byte) error
	// DropAnswer forgets an answer that has no text; nil when there is none.
	DropAnswer(ctx context.Context, id [32]byte) error

	// Subscribe calls fn after every commit that changed anything but usage, exits, audit and answers, until cancel is called. fn must be
	// quick and must not call the store.
	Subscribe(fn func(Change)) (cancel func())
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}
