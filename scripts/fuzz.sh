#!/usr/bin/env bash
# Runs every fuzzer for a while: scripts/fuzz.sh [TIME], like 10s, or 1000x for so many inputs. The program of each package is
# built once, not once a fuzzer.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
span=${1:-10s}
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
cache=$(go env GOCACHE)/fuzz

grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r package; do
	program=$programs/$(echo "$package" | tr / _).test
	go test -c -fuzz=Fuzz -o "$program" "$package"
	cat "$package"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' | while read -r name; do
		echo "== $package $name"
		(cd "$package" && "$program" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "$span" \
			-test.fuzzcachedir "$cache/apibuilder/${package#./}" -test.paniconexit0 </dev/null)
	done
	rm "$program"
done
