#!/usr/bin/env bash
# Builds the release of the current commit twice, in two directories of different names, and compares the bytes.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
scripts/tools.sh cyclonedx-gomod
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
here=$PWD
for place in one "two/and deeper"; do
	git clone -q --no-hardlinks "$here" "$scratch/$place"
	git -C "$scratch/$place" checkout -q "$(git rev-parse HEAD)"
	ln -s "$here/.tools" "$scratch/$place/.tools"
	(cd "$scratch/$place" && TZ=Pacific/Auckland LC_ALL=C.UTF-8 scripts/package.sh "$scratch/out-${place%%/*}" >/dev/null)
done
diff -r "$scratch/out-one" "$scratch/out-two" || die "two builds of one commit differ"
cat "$scratch/out-one/SHA256SUMS"
