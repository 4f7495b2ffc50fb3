package cli

import (
	"context"
	_ "embed"
	"fmt"

	"apibuilder/deploy"
)

var (
	//go:embed example/app.py
	exampleCode string
	//go:embed example/requirements.txt
	exampleRequirements string
)

const exampleName = "example"

// example is what a new operator needs to know about the API that a new server deployed.
type example struct {
	deployed
	Docs string `json:"docs"`
	Curl string `json:"curl"` // works as pasted into a shell
}

// deployExample deploys the bundled example when there is no API at all; nil when there is one.
func (s *server) deployExample(ctx context.Context) (*example, error) {
	there, err := s.store.HasAPIs(ctx)
	if err != nil || there {
		return nil, err
	}
	yes := true // a browser that opens the documentation cannot send a key
	result, err := s.deployer.Deploy(ctx, deploy.Request{
		Name: exampleName, Code: exampleCode, Requirements: exampleRequirements, PublicDocs: &yes,
		Progress: func(line string) { s.log.Info(printable(line)) },
	})
	if err != nil {
		return nil, fmt.Errorf("deploy the example: %w", err)
	}
	url := s.apiURL(result.API.ID)
	return &example{
		deployed: deployed{result.API.ID, result.API.Name, result.Version, url, result.Secret},
		Docs:     url + "/docs",
		Curl:     fmt.Sprintf("curl -H 'X-API-Key: %s' '%s/hello?name=you'", result.Secret, url),
	}, nil
}
