package admin

import (
	"time"

	"apibuilder/egress"
)

// Rate is a number of requests in a span of time. Null in JSON, or zero requests, is no limit.
type Rate struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
}

// Limits bound a sandbox. Of an API and a version they are what holds at its next start; in a deploy a zero field asks for
// what the plan or the server gives, and in a plan it is the server's.
type Limits struct {
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	CPU         float64 `json:"cpu,omitempty"`
	Pids        int     `json:"pids,omitempty"`
}

// DeployRequest is the body of POST /api/v1/deploys; see deploy.Request.
type DeployRequest struct {
	Name         string            `json:"name"`
	User         string            `json:"user,omitempty"`
	Code         string            `json:"code,omitempty"`
	Archive      []byte            `json:"archive,omitempty"`      // instead of code: a zip archive of modules and data, in base64
	Entry        string            `json:"entry,omitempty"`        // of an archive: "pkg.main:app"; absent: it is found
	Requirements string            `json:"requirements,omitempty"` // absent: the requirements.txt of the archive, the script metadata, or its pyproject.toml
	Python       string            `json:"python,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	Limits       Limits            `json:"limits,omitzero"`
	Upgrade      bool              `json:"upgrade,omitempty"` // resolve unchanged requirements anew
	Public       *bool             `json:"public,omitempty"`
	PublicDocs   *bool             `json:"public_docs,omitempty"`
	Rate         *Rate             `json:"rate,omitempty"`
	Options      map[string]string `json:"options,omitempty"` // by name, see package options; an empty text takes one back
}

// DeployEvent is one line of the answer to a deploy: any number with Progress, then one with Result or Error.
type DeployEvent struct {
	Progress string        `json:"progress,omitempty"`
	Result   *DeployResult `json:"result,omitempty"`
	Error    *Problem      `json:"error,omitempty"`
}

// DeployResult is a deploy that succeeded.
type DeployResult struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	URL     string `json:"url"` // absolute, ends in /run/{id}
	Key     string `json:"key,omitempty"`

	DocsURL      string  `json:"docs_url"`
	Created      bool    `json:"created"`
	Public       bool    `json:"public"`
	BuildSeconds float64 `json:"build_seconds"`
	StartSeconds float64 `json:"start_seconds"`
}

// API describes one API. Versions and Exits are there when one is asked for, not in a list.
type API struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	URL           string            `json:"url"`
	DocsURL       string            `json:"docs_url"`
	Addresses     []string          `json:"addresses,omitempty"` // absolute, of its own
	State         string            `json:"state"`               // "serving", or "deploying" while its first version is built
	ActiveVersion int               `json:"active_version"`
	Running       bool              `json:"running"` // else the next request starts it
	Trouble       *Trouble          `json:"trouble,omitempty"`
	Public        bool              `json:"public"`
	PublicDocs    bool              `json:"public_docs"`
	User          string            `json:"user"`
	Plan          string            `json:"plan,omitempty"` // its owner's; with the limits
	Rate          *Rate             `json:"rate"`
	Options       map[string]string `json:"options,omitempty"` // those that are set
	Traffic       []Share           `json:"traffic,omitempty"` // of a split; else the active version gets all requests
	Notice        string            `json:"notice,omitempty"`  // what a call did besides what it was asked for
	Instances     []Instance        `json:"instances,omitempty"`
	Limits        *Limits           `json:"limits,omitempty"` // of the active version
	LimitOrigins  *Origins          `json:"limit_origins,omitempty"`
	Egress        *egress.Report    `json:"egress,omitempty"` // when anything outside was reached or refused, on this node since its start
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
	Versions      []Version         `json:"versions,omitempty"`
	Exits         []Exit            `json:"exits,omitempty"`
}

// Share is the part of an API's requests that a version gets: its weight of the sum of all weights.
type Share struct {
	Version int `json:"version"`
	Weight  int `json:"weight"`
}

// Traffic is the body of PUT /api/v1/apis/{api}/traffic: two or more versions, the active one among them, or one, which is
// promoted. A weight of 0 takes a version out.
type Traffic struct {
	Shares []Share `json:"shares"`
}

// Promotion is the body of POST /api/v1/apis/{api}/promote; version 0 is the newest of the split.
type Promotion struct {
	Version int `json:"version,omitempty"`
}

// Instance describes one of an API's sandboxes.
type Instance struct {
	Version     int        `json:"version"`
	State       string     `json:"state"` // "starting", "serving", "draining", or "alone": it ends after its one request
	InFlight    int        `json:"in_flight"`
	MemoryBytes int64      `json:"memory_bytes,omitempty"`
	Started     *time.Time `json:"started,omitempty"`
}

// Trouble says that the API's program is not started before a time, because it failed again and again.
type Trouble struct {
	Reason   string    `json:"reason"` // of the last failure
	Failures int       `json:"failures"`
	Until    time.Time `json:"until"`
	Loop     bool      `json:"loop"` // consumers get crash_loop
}

// Origins say where limits come from, in the words of deploy.Origin: version, plan, default, plan_ceiling, server_ceiling.
type Origins struct {
	Memory string `json:"memory"`
	CPU    string `json:"cpu"`
	Pids   string `json:"pids"`
}

// Rollback is the body of POST /api/v1/apis/{api}/rollback; version 0 is the newest that was ready before the active one.
type Rollback struct {
	Version int `json:"version,omitempty"`
}

// Version describes one version; its code and the values of its environment variables stay in the store.
type Version struct {
	Number       int       `json:"number"`
	State        string    `json:"state"`
	Python       string    `json:"python,omitempty"`
	EnvNames     []string  `json:"env_names,omitempty"` // of one version; in an API of the one that serves, or the newest; in a list of none
	Limits       Limits    `json:"limits"`
	Environment  string    `json:"environment,omitempty"`
	Reason       string    `json:"reason,omitempty"` // why it failed
	Detail       string    `json:"detail,omitempty"` // untrusted text
	CodeBytes    int       `json:"code_bytes"`
	Entry        string    `json:"entry,omitempty"` // with the fields below, of several files: the module that it begins with
	Files        int       `json:"files,omitempty"`
	FileBytes    int64     `json:"file_bytes,omitempty"` // of all together
	Requirements string    `json:"requirements,omitempty"`
	CreatedAt    time.Time `json:"created_at"`
}

// Exit says how a sandbox of the API ended.
type Exit struct {
	Version int       `json:"version"`
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail,omitempty"` // untrusted text
	Output  string    `json:"output,omitempty"` // untrusted text
	Time    time.Time `json:"time"`
}

// APIPatch is the body of PATCH /api/v1/apis/{api}: what is absent stays.
type APIPatch struct {
	Public     *bool             `json:"public,omitempty"`
	PublicDocs *bool             `json:"public_docs,omitempty"`
	Rate       *Rate             `json:"rate,omitempty"`
	Options    map[string]string `json:"options,omitempty"` // an empty text takes one back
}

// User describes a user; in POST /api/v1/users Name and Plan are read, in PATCH /api/v1/users/{user} Plan.
type User struct {
	ID        string    `json:"id,omitempty"`
	Name      string    `json:"name,omitempty"`
	Plan      string    `json:"plan,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// Plan describes a plan. Limits are of APIs whose versions ask for nothing, Ceiling is the most that they may ask for; what
// is absent is the server's.
type Plan struct {
	Name    string `json:"name"`
	Rate    *Rate  `json:"rate"`
	Quota   int64  `json:"quota,omitempty"` // requests a calendar month, UTC; absent: no limit
	Limits  Limits `json:"limits,omitzero"`
	Ceiling Limits `json:"ceiling,omitzero"`
	// Instances are the most that options of an API may ask for; what is absent has no bound.
	Instances Instances `json:"instances,omitzero"`
}

// Instances bound the options max-instances and min-instances of each API.
type Instances struct {
	Max int `json:"max,omitempty"`
	Min int `json:"min,omitempty"`
}

// PlanPatch is the body of PATCH /api/v1/plans/{plan}, where what is absent stays as it is, and of PUT, where it is
// unlimited or the server's. Both add the plan when there is none.
type PlanPatch struct {
	Rate    *Rate       `json:"rate,omitempty"`
	Quota   *int64      `json:"quota,omitempty"` // 0: no limit
	Limits  LimitsPatch `json:"limits,omitzero"`
	Ceiling LimitsPatch `json:"ceiling,omitzero"`

	Instances InstancesPatch `json:"instances,omitzero"`
}

// InstancesPatch changes bounds: nil keeps one, 0 takes it away.
type InstancesPatch struct {
	Max *int `json:"max,omitempty"`
	Min *int `json:"min,omitempty"`
}

// LimitsPatch changes limits: nil keeps one, 0 makes it the server's.
type LimitsPatch struct {
	MemoryBytes *int64   `json:"memory_bytes,omitempty"`
	CPU         *float64 `json:"cpu,omitempty"`
	Pids        *int     `json:"pids,omitempty"`
}

// Token describes a management token. Secret is there only in the answer that creates it.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Prefix    string     `json:"prefix"`
	Role      string     `json:"role"`           // operator, author or reader
	User      string     `json:"user,omitempty"` // id of the user whose APIs it is for
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: never
	RevokedAt *time.Time `json:"revoked_at"`
	Secret    string     `json:"secret,omitempty"`
}

// TokenRequest is the body of POST /api/v1/tokens.
type TokenRequest struct {
	Name      string     `json:"name,omitempty"`
	Role      string     `json:"role,omitempty"` // empty: operator
	User      string     `json:"user,omitempty"` // name or id
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// ServerInfo is the answer of GET /api/v1/server.
type ServerInfo struct {
	Version     string    `json:"version"`
	URL         string    `json:"url"`
	Listen      string    `json:"listen"`
	AdminListen string    `json:"admin_listen,omitempty"`
	PID         int       `json:"pid,omitempty"` // absent for authors
	StartedAt   time.Time `json:"started_at"`
	APIs        int       `json:"apis"`
	Goroutines  int       `json:"goroutines,omitempty"` // absent for authors; one that only ever grows is a leak
	Defaults    Limits    `json:"default_limits"`
	Ceiling     Limits    `json:"max_limits,omitzero"` // what is absent has no bound
}

// Problem is the body of every error, application/problem+json as in RFC 9457.
type Problem struct {
	Type      string `json:"type"` // one stable word
	Title     string `json:"title"`
	Status    int    `json:"status,omitempty"` // 0: not from a server
	Detail    string `json:"detail,omitempty"`
	Remedy    string `json:"remedy,omitempty"`
	Output    string `json:"output,omitempty"` // a traceback or the installer's text, untrusted
	RequestID string `json:"request_id,omitempty"`
}

// Error is one line: what is wrong, and what to do.
func (p *Problem) Error() string {
	switch {
	case p.Detail == "":
		return p.Title
	case p.Remedy == "":
		return p.Detail
	}
	return p.Detail + ": " + p.Remedy
}
