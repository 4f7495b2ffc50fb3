# `make` alone lists the targets. Nothing here is needed to run the server: scripts/serve.sh does that.
.DEFAULT_GOAL := help
.PHONY: help build package profile reproduce run test race lint vuln fuzz bench bench-env bench-egress bench-fleet bench-gateway bench-usage bench-wake vm

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/apibuilder
	@bash -c '. scripts/lib.sh && find_go && build'

package: ## build the release into dist: binary, Debian package, SBOM
	scripts/package.sh

reproduce: ## build the release twice in different places, and compare the bytes
	scripts/reproduce.sh

run: ## build and run the server (root)
	scripts/serve.sh

test: ## run all tests (root)
	scripts/test.sh

race: ## run the tests of the Go code under the race detector (root)
	scripts/race.sh

lint: ## check style and common faults
	scripts/lint.sh

vuln: ## check the dependencies for known vulnerabilities
	scripts/vuln.sh

fuzz: ## run every fuzzer for ten seconds
	scripts/fuzz.sh

bench: ## run the benchmarks; the gateway's prints its ratio to a bare reverse proxy
	@bash -c '. scripts/lib.sh && find_go && go test -run "^$$" -bench . ./gateway ./ratelimit ./usage ./store/...'

bench-wake: ## wake sleeping APIs, with and without a warm sandbox, beside starting plain uvicorn, and print the ratios (root)
	@bash -c '. scripts/lib.sh && find_go && go test -timeout 40m -run "^$$" -bench . -benchtime 20x ./bench/wake'

bench-egress: ## a sandbox's network beside a veth pair with NAT, and the ratios (root; apt-get install iperf3 nftables)
	@bash -c '. scripts/lib.sh && find_go && packages iperf3 nftables && go test -pgo packaging/apibuilder.pgo -run "^$$" -bench BenchmarkEgress -benchtime 1x ./bench/egress'

bench-gateway: ## load the gateway beside nginx, HAProxy, Caddy and others, and print the ratios (root)
	@bash -c '. scripts/lib.sh && packages nginx-light haproxy wrk nghttp2-client && find_go && go test -pgo packaging/apibuilder.pgo -timeout 30m -run "^$$" -bench . -benchtime 1x ./bench/gateway'

profile: ## renew the profile by which the program is compiled (root)
	scripts/profile.sh

bench-usage: ## make 10 million usage records in each store, and time reports over them (root)
	@bash -c '. scripts/lib.sh && packages postgresql && find_go && go test -v -timeout 60m ./bench/usage -rows 10000000'

bench-env: ## build environments beside uv and pip alone, and print the ratios (root)
	@bash -c '. scripts/lib.sh && find_go && go test -run "^$$" -bench BenchmarkEnvironment -benchtime 5x ./bench/environment'

bench-fleet: ## start a server with 10,000 APIs, run 300, wake 200 at once, beside plain uvicorn (root)
	@bash -c '. scripts/lib.sh && find_go && go test -run "^$$" -bench . -benchtime 1x -timeout 60m ./bench/fleet'

vm: ## build the cgroup v2 test machine and check it (root)
	testdata/vm/build.sh && testdata/vm/check.sh
