#!/usr/bin/env bash
# Runs every fuzzer for a while: scripts/fuzz.sh [SECONDS]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
seconds=${1:-10}
grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
	grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | while read -r _ name; do
		echo "== $(dirname "$file") $name"
		go test "$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${seconds}s"
	done
done
