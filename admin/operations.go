package admin

// operation is what the OpenAPI document says of a route. The types are those that the route's handler reads and writes.
type operation struct {
	summary string
	query   []parameter
	body    any // a value of its type; nil: none
	answer  any
	stream  bool // the answer is lines of JSON, each an answer
}

// parameter is one of a query.
type parameter struct {
	name, usage string
	kind        string // integer, boolean, date-time, or empty: text
	most        int    // of an integer
}

var (
	apiParameter   = parameter{name: "api", usage: "name or id of an API"}
	sinceParameter = parameter{name: "since", usage: "from this time on", kind: "date-time"}
)

// operations has every route of Server.routes; a test sees to it.
var operations = map[string]operation{
	"POST /api/v1/deploys": {
		summary: "Deploy a program, as a new API or as a new version of the API with that name",
		body:    DeployRequest{}, answer: DeployEvent{}, stream: true,
	},
	"GET /api/v1/apis":          {summary: "List APIs", answer: []API{}},
	"GET /api/v1/apis/{api}":    {summary: "Show an API with its versions and how its sandboxes ended", answer: API{}},
	"PATCH /api/v1/apis/{api}":  {summary: "Change an API's settings", body: APIPatch{}, answer: API{}},
	"DELETE /api/v1/apis/{api}": {summary: "Delete an API with its versions and keys", answer: API{}},

	"GET /api/v1/apis/{api}/keys":          {summary: "List an API's keys", answer: []Key{}},
	"POST /api/v1/apis/{api}/keys":         {summary: "Create a key; its secret is in this answer alone", body: KeyRequest{}, answer: Key{}},
	"DELETE /api/v1/apis/{api}/keys/{key}": {summary: "End a key at once", answer: Key{}},
	"POST /api/v1/apis/{api}/keys/{key}/rotate": {
		summary: "Give a key a new secret, which is in this answer alone; the old one ends after the overlap", body: KeyRotation{}, answer: Key{},
	},
	"GET /api/v1/users/{user}/keys":               {summary: "List the keys that are good for all APIs of a user", answer: []Key{}},
	"POST /api/v1/users/{user}/keys":              {summary: "Create a key for all APIs of a user", body: KeyRequest{}, answer: Key{}},
	"DELETE /api/v1/users/{user}/keys/{key}":      {summary: "End a key of a user at once", answer: Key{}},
	"POST /api/v1/users/{user}/keys/{key}/rotate": {summary: "Give a key of a user a new secret", body: KeyRotation{}, answer: Key{}},
	"GET /api/v1/keys":                            {summary: "List all keys", answer: []Key{}},
	"DELETE /api/v1/keys/{key}":                   {summary: "End any key at once", answer: Key{}},
	"POST /api/v1/keys/{key}/rotate":              {summary: "Give any key a new secret", body: KeyRotation{}, answer: Key{}},
	"GET /api/v1/apis/{api}/logs": {
		summary: "Read what an API's programs printed", answer: LogLine{}, stream: true,
		query: []parameter{
			{name: "tail", usage: "newest lines to begin with", kind: "integer", most: maxTail},
			{name: "follow", usage: "go on with the lines that come", kind: "boolean"},
		},
	},
	"POST /api/v1/apis/{api}/sleep":    {summary: "End an API's program once its requests are answered; the next request starts it", answer: API{}},
	"POST /api/v1/apis/{api}/wake":     {summary: "Start an API's program", answer: API{}},
	"POST /api/v1/apis/{api}/rollback": {summary: "Make an older version serve again", body: Rollback{}, answer: API{}},
	"PUT /api/v1/apis/{api}/traffic":   {summary: "Split an API's requests among versions", body: Traffic{}, answer: API{}},
	"POST /api/v1/apis/{api}/promote":  {summary: "Give all requests to one version of a split", body: Promotion{}, answer: API{}},
	"GET /api/v1/apis/{api}/versions/{version}/environment": {
		summary: "Show what a version is built from; the version is a number, or active", answer: VersionEnvironment{},
	},
	"POST /api/v1/locks": {
		summary: "Resolve requirements without building anything", body: LockRequest{}, answer: LockEvent{}, stream: true,
	},

	"GET /api/v1/pythons":             {summary: "List the Pythons that programs may ask for", answer: []Python{}},
	"POST /api/v1/pythons":            {summary: "Add a Python of this machine, or install one", body: PythonRequest{}, answer: PythonEvent{}, stream: true},
	"DELETE /api/v1/pythons/{python}": {summary: "Take away a Python that was added", answer: Python{}},

	"GET /api/v1/users":             {summary: "List users", answer: []User{}},
	"POST /api/v1/users":            {summary: "Create a user", body: User{}, answer: User{}},
	"PATCH /api/v1/users/{user}":    {summary: "Move a user to another plan", body: User{}, answer: User{}},
	"GET /api/v1/plans":             {summary: "List plans", answer: []Plan{}},
	"PUT /api/v1/plans/{plan}":      {summary: "Add or replace a plan", body: PlanPatch{}, answer: Plan{}},
	"PATCH /api/v1/plans/{plan}":    {summary: "Add a plan, or change parts of it", body: PlanPatch{}, answer: Plan{}},
	"GET /api/v1/tokens":            {summary: "List the tokens of the management API", answer: []Token{}},
	"POST /api/v1/tokens":           {summary: "Create a token; its secret is in this answer alone", body: TokenRequest{}, answer: Token{}},
	"DELETE /api/v1/tokens/{token}": {summary: "End a token at once", answer: Token{}},
	"GET /api/v1/usage": {
		summary: "Read the newest usage records", answer: Usage{},
		query: []parameter{
			apiParameter,
			{name: "id", usage: "of the request with this id"},
			sinceParameter,
			{name: "limit", usage: "records at most", kind: "integer", most: maxUsage},
		},
	},
	"GET /api/v1/usage/sums": {
		summary: "Sum the usage up", answer: UsageSums{},
		query: []parameter{
			{name: "by", usage: "hour, day, api, key, user or route"},
			apiParameter, sinceParameter,
			{name: "key", usage: "id of a key"},
			{name: "user", usage: "name or id of a user"},
		},
	},
	"GET /api/v1/quotas":          {summary: "Show every monthly quota and how much of it is used", answer: []QuotaUse{}},
	"POST /api/v1/secrets/rotate": {summary: "Encrypt stored secrets for a new key", body: SecretsRotation{}, answer: SecretsRotated{}},
	"GET /api/v1/audit": {
		summary: "Read what was changed, by whom, and what came of it", answer: []AuditEntry{},
		query: []parameter{
			{name: "api", usage: "name or id of an API; the id of a deleted one is good too"},
			sinceParameter,
			{name: "limit", usage: "entries at most", kind: "integer", most: maxAudit},
		},
	},
	"GET /api/v1/nodes":        {summary: "List the servers that share the database", answer: []Node{}},
	"GET /api/v1/server":       {summary: "Show the server", answer: ServerInfo{}},
	"GET /api/v1/openapi.json": {summary: "This document", answer: map[string]any{}},
}
