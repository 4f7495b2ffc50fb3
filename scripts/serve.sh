#!/usr/bin/env bash
# Sets up what is missing, builds the binary and runs the server. Arguments go to `apibuilder serve`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
packages python3 ca-certificates
find_go
build
exec bin/apibuilder serve "$@"
