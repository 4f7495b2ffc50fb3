package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"apibuilder/deploy"
	"apibuilder/store"
)

// object is a JSON object of the document.
type object = map[string]any

// document describes the management API (OpenAPI 3.1). It is made from operations and the types that handlers read and write,
// and from access for what each role may do.
func document(version string) object {
	schemas := object{}
	paths := object{}
	for pattern, op := range operations {
		method, path, _ := strings.Cut(pattern, " ")
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = op.describe(pattern, path, schemas)
	}
	schemaOf(reflect.TypeFor[Problem](), schemas)
	properties := schemas["Problem"].(object)["properties"].(object)
	properties["type"] = object{"type": "string", "enum": problemWords(), "description": "one stable word"}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "API Builder management API", "version": version,
			"description": "What operators and authors do. Over TCP a token is needed; what it may do is its role.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []object{{"url": "/"}},
		"security": []object{{"token": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	}
}

func (op operation) describe(pattern, path string, schemas object) object {
	method, _, _ := strings.Cut(pattern, " ")
	out := object{
		"summary":     op.summary,
		"operationId": operationID(pattern),
		"parameters":  op.parametersOut(method, path),
		"responses": object{
			"200": object{"description": "done", "headers": op.headers(), "content": object{op.answerType(): object{"schema": schemaOf(reflect.TypeOf(op.answer), schemas)}}},
			"4XX": problemResponse("it could not be done"),
			"5XX": problemResponse("the server or its database is at fault"),
		},
		"x-roles": roles(pattern),
	}
	if op.body != nil {
		out["requestBody"] = object{
			"required": true,
			"content":  object{"application/json": object{"schema": schemaOf(reflect.TypeOf(op.body), schemas)}},
		}
	}
	return out
}

// headers are those of a good answer.
func (op operation) headers() object {
	all := object{}
	add := func(name, text string) {
		all[name] = object{"description": text, "schema": object{"type": "string"}}
	}
	if op.tagged {
		add("ETag", "changes with what can be changed, not with what runs or is used")
	}
	if op.pages > 0 {
		add("Link", "to the next page, where there is one")
	}
	return all
}

func (op operation) answerType() string {
	if op.stream {
		return "application/x-ndjson"
	}
	return "application/json"
}

// problemWords are all that a problem's type may be.
func problemWords() []string {
	words := slices.AppendSeq(slices.Clone(deploy.Failures), maps.Keys(kinds))
	slices.Sort(words)
	return slices.Compact(words)
}

func problemResponse(text string) object {
	ref := object{"$ref": "#/components/schemas/Problem"}
	return object{"description": text, "content": object{"application/problem+json": object{"schema": ref}}}
}

func (op operation) parametersOut(method, path string) []object {
	all := []object{}
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			all = append(all, object{
				"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string", "minLength": 1},
			})
		}
	}
	if op.tagged && method != http.MethodGet {
		all = append(all, object{
			"name": "If-Match", "in": "header", "schema": object{"type": "string", "pattern": `^(\*|("[!#-~]*")(, *"[!#-~]*")*)$`},
			"description": "the ETag of an answer: 412 when it has changed since",
		})
	}
	if method == http.MethodPost {
		all = append(all, object{
			"name": "Idempotency-Key", "in": "header", "schema": object{
				"type": "string", "minLength": leastKey, "maxLength": mostKey, "pattern": "^[!-~]+$",
			},
			"description": "the same request with the same key gets the same answer for a day; best a random UUID",
		})
	}
	for _, p := range op.parameters() {
		all = append(all, object{"name": p.name, "in": "query", "description": p.usage, "schema": p.schema()})
	}
	return all
}

// parameters are those of the query.
func (op operation) parameters() []parameter {
	if op.pages == 0 {
		return op.query
	}
	return append(slices.Clone(op.query),
		parameter{name: "limit", usage: fmt.Sprintf("items at most; %d when it is 0 or left out", defaultPage), kind: "integer", most: op.pages},
		parameter{name: "cursor", usage: "where to go on: next of the answer before"})
}

func (p parameter) schema() object {
	switch p.kind {
	case "integer":
		return object{"type": "integer", "minimum": p.least, "maximum": p.most}
	case "boolean":
		return object{"type": "boolean"}
	case "date-time":
		return object{"type": "string", "format": "date-time"}
	}
	if p.enum != nil {
		return object{"type": "string", "enum": p.enum}
	}
	return object{"type": "string"}
}

// operationID is get_apis_api_keys for GET /api/v1/apis/{api}/keys.
func operationID(pattern string) string {
	id := strings.NewReplacer(" /api/v1/", "_", "/", "_", "{", "", "}", "", ".", "_").Replace(pattern)
	return strings.ToLower(id)
}

// roles may use a route.
func roles(pattern string) []string {
	var all []string
	for _, c := range []caller{{role: store.RoleOperator}, {role: store.RoleAuthor, userID: "any"}, {role: store.RoleReader}} {
		if c.may(pattern) {
			all = append(all, string(c.role))
		}
	}
	return all
}

// schemaOf is the schema of what encoding/json makes of a type. Structs are put into schemas and referred to.
func schemaOf(t reflect.Type, schemas object) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), schemas)
	}
	switch t.Kind() {
	case reflect.Struct:
		name := schemaName(t)
		if _, known := schemas[name]; !known {
			schemas[name] = object{} // a type may hold itself
			schemas[name] = structSchema(t, schemas)
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	}
	panic("the management API has a " + t.String() + ", which no schema is known for")
}

// schemaName is APIPage for Page[API].
func schemaName(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	if !generic {
		return name
	}
	of = strings.TrimSuffix(of, "]")
	return of[strings.LastIndexByte(of, '.')+1:] + name
}

func structSchema(t reflect.Type, schemas object) object {
	properties, required := object{}, []string{}
	for f := range t.Fields() {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		optional := strings.Contains(rest, "omitempty") || strings.Contains(rest, "omitzero")
		schema := schemaOf(f.Type, schemas)
		if !optional {
			required = append(required, name)
			if f.Type.Kind() == reflect.Pointer {
				schema = object{"anyOf": []object{schema, {"type": "null"}}}
			}
		}
		properties[name] = schema
	}
	slices.Sort(required)
	return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// showDocument answers with the document, made once.
func (s *Server) showDocument(w http.ResponseWriter, _ *http.Request) (any, error) {
	return json.RawMessage(s.openapi), nil
}

func (s *Server) makeDocument() {
	version := ""
	if s.cfg.Info != nil {
		version = s.cfg.Info().Version
	}
	text, err := json.Marshal(document(version))
	if err != nil {
		panic(err) // only for a value that JSON has no form for, and there is none
	}
	s.openapi = text
}
