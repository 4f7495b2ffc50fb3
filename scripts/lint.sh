#!/usr/bin/env bash
# Checks style and common faults.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
scripts/tools.sh
go vet ./...
.tools/golangci-lint run ./...
