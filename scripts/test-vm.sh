#!/usr/bin/env bash
# Runs the suites of limits and isolation on a machine with control groups v2 only, under systemd with Delegate=yes: a
# virtual one, see testdata/vm. Needs what scripts/test.sh installs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
find_go
# A cache of its own, so that the machine gets only what these suites use.
cache=${APIBUILDER_TEST_DIR:-/var/cache/apibuilder-test}-vm
export APIBUILDER_TEST_DIR=$cache
job=$(mktemp -d)
trap 'rm -rf "$job" "$job-out"' EXIT

# Fill the cache: the environment of the suites and that of the example.
go test -count=1 -run TestConformance/ServesRequests ./sandbox/nsjail >/dev/null
go test -count=1 -run TestTheExample ./internal/endtoend >/dev/null
for package in cgroup nsjail; do
	CGO_ENABLED=0 go test -c -o "$job/$package.test" "./sandbox/$package"
done
build
cp bin/apibuilder "$job/"
mkdir "$job/cache"
tar -C "$cache" --exclude=.cache -cf - tools envs | tar -C "$job/cache" -xf -
cp testdata/vm/suite/* docs/nodes/apibuilder.service "$job/"
index_settings "$job"
testdata/vm/run.sh --timeout 1500 --silence 660 "$job" # a test that hangs is told of after 600
