package admin

// operation is what the OpenAPI document says of a route. The types are those that the route's handler reads and writes.
type operation struct {
	summary string
	query   []parameter
	body    any // a value of its type; nil: none
	answer  any
	tagged  bool  // the answer has an ETag; what changes something heeds If-Match
	stream  bool  // the answer is lines of JSON, each an answer
	most    int64 // bytes of a body; 0: maxBody
	pages   int   // most items of an answer that is a part of a list; 0: it is none
}

// parameter is one of a query.
type parameter struct {
	name, usage string
	kind        string   // integer, boolean, date-time, or empty: text
	least, most int      // of an integer
	enum        []string // of a text; nil: any
}

var (
	apiParameter   = parameter{name: "api", usage: "name or id of an API; the id of a deleted one is good too"}
	sinceParameter = parameter{name: "since", usage: "from this time on", kind: "date-time"}
	untilParameter = parameter{name: "until", usage: "before this time", kind: "date-time"}
	nameParameter  = parameter{name: "name", usage: "with this text in the name"}
	userParameter  = parameter{name: "user", usage: "name or id of a user"}
	stateParameter = parameter{name: "state", usage: "good, or revoked or expired", enum: []string{"valid", "ended"}}
	keyParameters  = []parameter{nameParameter, stateParameter}
)

// operations has every route of Server.routes; a test sees to it.
var operations = map[string]operation{
	"POST /api/v1/deploys": {
		summary: "Deploy a program, as a new API or as a new version of the API with that name",
		body:    DeployRequest{}, answer: DeployEvent{}, stream: true, most: maxArchiveBody,
	},
	"GET /api/v1/apis": {
		summary: "List APIs by name", answer: Page[API]{}, pages: maxPage,
		query: []parameter{
			nameParameter, userParameter,
			{name: "state", usage: "how far they are", enum: []string{"deploying", "serving"}},
			{name: "public", usage: "those that need no key, or those that do", kind: "boolean"},
		},
	},
	"GET /api/v1/apis/{api}":    {summary: "Show an API with its versions and how its sandboxes ended", answer: API{}, tagged: true},
	"PATCH /api/v1/apis/{api}":  {summary: "Change an API's settings", body: APIPatch{}, answer: API{}, tagged: true},
	"DELETE /api/v1/apis/{api}": {summary: "Delete an API with its versions and keys", answer: API{}, tagged: true},

	"GET /api/v1/apis/{api}/keys":          {summary: "List an API's keys, oldest first", answer: Page[Key]{}, pages: maxPage, query: keyParameters},
	"POST /api/v1/apis/{api}/keys":         {summary: "Create a key; its secret is in this answer alone", body: KeyRequest{}, answer: Key{}},
	"DELETE /api/v1/apis/{api}/keys/{key}": {summary: "End a key at once", answer: Key{}, tagged: true},
	"POST /api/v1/apis/{api}/keys/{key}/rotate": {
		summary: "Give a key a new secret, which is in this answer alone; the old one ends after the overlap", body: KeyRotation{}, answer: Key{}, tagged: true,
	},
	"GET /api/v1/users/{user}/keys":               {summary: "List the keys that are good for all APIs of a user", answer: Page[Key]{}, pages: maxPage, query: keyParameters},
	"POST /api/v1/users/{user}/keys":              {summary: "Create a key for all APIs of a user", body: KeyRequest{}, answer: Key{}},
	"DELETE /api/v1/users/{user}/keys/{key}":      {summary: "End a key of a user at once", answer: Key{}, tagged: true},
	"POST /api/v1/users/{user}/keys/{key}/rotate": {summary: "Give a key of a user a new secret", body: KeyRotation{}, answer: Key{}, tagged: true},
	"GET /api/v1/keys":                            {summary: "List all keys, oldest first", answer: Page[Key]{}, pages: maxPage, query: keyParameters},
	"DELETE /api/v1/keys/{key}":                   {summary: "End any key at once", answer: Key{}, tagged: true},
	"POST /api/v1/keys/{key}/rotate":              {summary: "Give any key a new secret", body: KeyRotation{}, answer: Key{}, tagged: true},
	"GET /api/v1/apis/{api}/logs": {
		summary: "Read what an API's programs printed, and what happened to them", answer: LogLine{}, stream: true, query: logParameters,
	},
	"POST /api/v1/apis/{api}/sleep":    {summary: "End an API's program once its requests are answered; the next request starts it", answer: API{}},
	"POST /api/v1/apis/{api}/wake":     {summary: "Start an API's program", answer: API{}},
	"POST /api/v1/apis/{api}/rollback": {summary: "Make an older version serve again", body: Rollback{}, answer: API{}, tagged: true},
	"PUT /api/v1/apis/{api}/traffic":   {summary: "Split an API's requests among versions", body: Traffic{}, answer: API{}, tagged: true},
	"POST /api/v1/apis/{api}/promote":  {summary: "Give all requests to one version of a split", body: Promotion{}, answer: API{}, tagged: true},
	"GET /api/v1/apis/{api}/versions": {
		summary: "List an API's versions, newest first", answer: Page[Version]{}, pages: maxPage,
		query: []parameter{{name: "state", usage: "how far they are", enum: []string{"building", "ready", "failed"}}},
	},
	"GET /api/v1/apis/{api}/versions/{version}": {summary: "Show a version; it is a number, or active", answer: Version{}},
	"GET /api/v1/apis/{api}/keys/{key}":         {summary: "Show a key", answer: Key{}, tagged: true},
	"GET /api/v1/users/{user}/keys/{key}":       {summary: "Show a key of a user", answer: Key{}, tagged: true},
	"GET /api/v1/keys/{key}":                    {summary: "Show any key", answer: Key{}, tagged: true},
	"GET /api/v1/users/{user}":                  {summary: "Show a user", answer: User{}, tagged: true},
	"GET /api/v1/plans/{plan}":                  {summary: "Show a plan", answer: Plan{}, tagged: true},
	"GET /api/v1/tokens/{token}":                {summary: "Show a token", answer: Token{}, tagged: true},
	"GET /api/v1/apis/{api}/versions/{version}/environment": {
		summary: "Show what a version is built from; the version is a number, or active", answer: VersionEnvironment{},
	},
	"GET /api/v1/apis/{api}/versions/{version}/source": {
		summary: "Read what a version was deployed from; the version is a number, or active", answer: VersionSource{},
	},
	"POST /api/v1/apis/{api}/exec": {
		summary: "Run code once, in a sandbox of its own like those of the API", body: ExecRequest{}, answer: ExecEvent{}, stream: true,
		most: maxExecBody,
	},
	"POST /api/v1/locks": {
		summary: "Resolve requirements without building anything", body: LockRequest{}, answer: LockEvent{}, stream: true, most: maxDeployBody,
	},

	"GET /api/v1/pythons":             {summary: "List the Pythons that programs may ask for", answer: Page[Python]{}, pages: maxPage},
	"POST /api/v1/pythons":            {summary: "Add a Python of this machine, or install one", body: PythonRequest{}, answer: PythonEvent{}, stream: true},
	"DELETE /api/v1/pythons/{python}": {summary: "Take away a Python that was added", answer: Python{}},

	"GET /api/v1/users": {
		summary: "List users by name", answer: Page[User]{}, pages: maxPage,
		query: []parameter{nameParameter, {name: "plan", usage: "on this plan"}},
	},
	"POST /api/v1/users":         {summary: "Create a user", body: User{}, answer: User{}},
	"PATCH /api/v1/users/{user}": {summary: "Move a user to another plan", body: User{}, answer: User{}, tagged: true},
	"GET /api/v1/plans":          {summary: "List plans by name", answer: Page[Plan]{}, pages: maxPage, query: []parameter{nameParameter}},
	"PUT /api/v1/plans/{plan}":   {summary: "Add or replace a plan", body: PlanPatch{}, answer: Plan{}, tagged: true},
	"PATCH /api/v1/plans/{plan}": {summary: "Add a plan, or change parts of it", body: PlanPatch{}, answer: Plan{}, tagged: true},
	"GET /api/v1/tokens": {
		summary: "List the tokens of the management API, oldest first", answer: Page[Token]{}, pages: maxPage,
		query: []parameter{
			nameParameter, userParameter, stateParameter,
			{name: "role", usage: "of this role", enum: []string{"operator", "author", "reader"}},
		},
	},
	"POST /api/v1/tokens":           {summary: "Create a token; its secret is in this answer alone", body: TokenRequest{}, answer: Token{}},
	"DELETE /api/v1/tokens/{token}": {summary: "End a token at once", answer: Token{}, tagged: true},
	"GET /api/v1/usage": {
		summary: "Read the newest usage records", answer: Usage{},
		query: []parameter{
			apiParameter,
			{name: "id", usage: "of the request with this id"},
			{name: "key", usage: "with the key that has this id"},
			sinceParameter, untilParameter,
		},
		pages: maxUsage,
	},
	"GET /api/v1/usage/sums": {
		summary: "Sum the usage up", answer: UsageSums{},
		query: []parameter{
			{name: "by", usage: "what to sum by; all together when left out", enum: []string{"hour", "day", "api", "key", "user", "route"}},
			apiParameter, sinceParameter,
			{name: "key", usage: "id of a key"},
			userParameter,
		},
		pages: maxUsage,
	},
	"GET /api/v1/usage/egress": {
		summary: "Sum up what programs reached outside and were refused", answer: EgressSums{},
		query: []parameter{
			{name: "by", usage: "what to sum by; all together when left out", enum: []string{"hour", "day", "api", "user", "destination"}},
			apiParameter, sinceParameter,
			userParameter,
		},
		pages: maxUsage,
	},
	"GET /api/v1/quotas":          {summary: "Show every monthly quota and how much of it is used", answer: Page[QuotaUse]{}, pages: maxPage},
	"POST /api/v1/secrets/rotate": {summary: "Encrypt stored secrets for a new key", body: SecretsRotation{}, answer: SecretsRotated{}},
	"GET /api/v1/audit": {
		summary: "Read what was changed, by whom, and what came of it", answer: Page[AuditEntry]{}, pages: maxAudit,
		query: []parameter{
			apiParameter,
			{name: "user", usage: "by a token of this user, a name or id"},
			{name: "token", usage: "by the token with this id"},
			sinceParameter, untilParameter,
		},
	},
	"GET /api/v1/top":          {summary: "Show what the APIs do at the moment, on this server", answer: Top{}},
	"GET /api/v1/nodes":        {summary: "List the servers that share the database", answer: Page[Node]{}, pages: maxPage},
	"GET /api/v1/server":       {summary: "Show the server", answer: ServerInfo{}},
	"GET /api/v1/openapi.json": {summary: "This document", answer: map[string]any{}},
}
