#!/usr/bin/env bash
# Installs, upgrades and purges the Debian package on a virtual machine, see testdata/vm: scripts/test-package.sh [--network].
# Packages of Python come from a cache that is filled here; with --network the machine has the host's network, and fetches
# everything itself, as a new operator's does. Needs what scripts/test.sh installs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
find_go
scratch=$(mktemp -d)
job=$scratch/job
trap 'rm -rf "$scratch"' EXIT
options=()
if [ "${1:-}" = --network ]; then
	options=(--network)
	mkdir -p "$job"
	cp testdata/vm/network.sh /etc/ssl/certs/ca-certificates.crt "$job/"
else
	cache=${APIBUILDER_TEST_DIR:-/var/cache/apibuilder-test}-vm
	APIBUILDER_TEST_DIR=$cache go test -count=1 -run TestTheExample ./internal/endtoend >/dev/null
	mkdir -p "$job/cache"
	tar -C "$cache" --exclude=.cache -cf - tools envs | tar -C "$job/cache" -xf -
fi
scripts/package.sh "$scratch/dist" >/dev/null
cp testdata/vm/package/* "$job/"
cp "$scratch"/dist/*.deb "$job/old.deb"
# A newer version of the same content.
dpkg-deb -R "$job/old.deb" "$scratch/newer"
sed -i 's/^Version: .*/&+newer/' "$scratch/newer/DEBIAN/control"
dpkg-deb -Zgzip --root-owner-group -b "$scratch/newer" "$job/new.deb" >/dev/null
index_settings "$job"
testdata/vm/run.sh --timeout 1200 "${options[@]}" "$job"
