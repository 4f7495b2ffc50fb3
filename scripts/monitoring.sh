#!/usr/bin/env bash
# Reads the alert rules and the dashboard with Prometheus' own parsers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
cd docs/monitoring/check
go test ./...
