package deploy_test

import (
	"math"
	"strings"
	"testing"

	"apibuilder/deploy"
	"apibuilder/store"
)

func TestBadRequestsAreRefusedBeforeAnythingHappens(t *testing.T) {
	many := map[string]string{}
	for i := range deploy.MaxEnvVars + 1 {
		many["N"+strings.Repeat("x", i%100)+string(rune('A'+i%26))+string(rune('a'+i/26))] = ""
	}
	for name, change := range map[string]func(*deploy.Request){
		"no code":           func(r *deploy.Request) { r.Code = " \n" },
		"large code":        func(r *deploy.Request) { r.Code = strings.Repeat("#", deploy.MaxCodeBytes+1) },
		"binary code":       func(r *deploy.Request) { r.Code = "\xff" },
		"NUL in code":       func(r *deploy.Request) { r.Code = "a\x00" },
		"large list":        func(r *deploy.Request) { r.Requirements = strings.Repeat("#", deploy.MaxRequirementsBytes+1) },
		"binary list":       func(r *deploy.Request) { r.Requirements = "\xff" },
		"python":            func(r *deploy.Request) { r.Python = "3.11; rm" },
		"name":              func(r *deploy.Request) { r.Name = "Not A Name" },
		"path as name":      func(r *deploy.Request) { r.Name = "../etc" },
		"unknown id":        func(r *deploy.Request) { r.Name = "api_aaaaaaaaaaaaaaaa" },
		"env name":          func(r *deploy.Request) { r.Env = map[string]string{"A=B": ""} },
		"empty env name":    func(r *deploy.Request) { r.Env = map[string]string{"": ""} },
		"NUL in env":        func(r *deploy.Request) { r.Env = map[string]string{"A": "\x00"} },
		"much env":          func(r *deploy.Request) { r.Env = map[string]string{"A": strings.Repeat("x", deploy.MaxEnvBytes)} },
		"many env":          func(r *deploy.Request) { r.Env = many },
		"little memory":     func(r *deploy.Request) { r.Limits.MemoryBytes = 1 },
		"negative memory":   func(r *deploy.Request) { r.Limits.MemoryBytes = -1 },
		"much memory":       func(r *deploy.Request) { r.Limits.MemoryBytes = math.MaxInt64 },
		"cpu not a number":  func(r *deploy.Request) { r.Limits.CPU = math.NaN() },
		"negative cpu":      func(r *deploy.Request) { r.Limits.CPU = -1 },
		"few processes":     func(r *deploy.Request) { r.Limits.Pids = 1 },
		"negative requests": func(r *deploy.Request) { r.Rate = &store.Rate{Requests: -1} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := request("resize", "code")
			change(&r)
			if _, err := f.Deploy(t.Context(), r); reasonOf(err) != deploy.InvalidRequest {
				t.Fatalf("error %v", err)
			}
			if apis, _ := f.store.APIs(t.Context()); len(apis) > 0 || f.builder.calls > 0 {
				t.Fatal("something happened")
			}
		})
	}
}

func TestErrorsNeverRepeatAnEnvValue(t *testing.T) {
	f := newFixture(t)
	r := request("resize", "code")
	r.Env = map[string]string{"A": "hunter2\x00"}
	if _, err := f.Deploy(t.Context(), r); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("error %v", err)
	}
}
