#!/usr/bin/env bash
# Renews packaging/apibuilder.pgo, the profile by which the program is compiled: the gateway under the load of bench/gateway, with
# keys, limits, journal and SQLite, and sandboxes' networks under that of bench/egress. Worth it after a hot path has changed much, on
# a machine that does nothing else. Look at BenchmarkHeld of bench/gateway behind it: another profile may have the compiler make one of functions that wait
# and others, and each WebSocket's stack twice as large.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
packages nginx-light wrk nghttp2-client iperf3 nftables
find_go
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go test -timeout 10m -run '^$' -bench BenchmarkProxies -benchtime 1x ./bench/gateway \
	-args -only apibuilder -rounds 5 -span 3s -profile "$scratch/gateway"
APIBUILDER_BENCH_EGRESS="to from latency" APIBUILDER_BENCH_EGRESS_PROFILE=$scratch/egress \
	go test -timeout 10m -run '^$' -bench BenchmarkEgress -benchtime 1x ./bench/egress
go tool pprof -proto "$scratch/gateway" "$scratch/egress" >packaging/apibuilder.pgo
