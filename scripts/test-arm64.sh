#!/usr/bin/env bash
# Serves, calls and attacks a program on a virtual machine of arm64, which is emulated: a quarter of an hour where the host has little else to do, and as long again
# for the image the first time.
# The machine gets its packages from the index, because none of this host's run there. See testdata/vm.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
find_go
job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
export GOARCH=arm64 CGO_ENABLED=0
echo "building for arm64, which takes minutes for the first time" >&2
build_into "$job/apibuilder"
go test -c -o "$job/cgroup.test" ./sandbox/cgroup
cp testdata/vm/arm64/run testdata/vm/network.sh /etc/ssl/certs/ca-certificates.crt "$job/"
index_settings "$job"
APIBUILDER_VM_ARCH=arm64 testdata/vm/run.sh --network --timeout 3600 "$job"
