#!/usr/bin/env bash
# Sets up what the tests need and runs all of them: scripts/test.sh [arguments of go test].
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
packages python3 ca-certificates curl postgresql pgbouncer
find_go

# The tests show packages that have wheels for Python 3.11 only up to a version; a newer system gets that Python by uv.
if ! python3.11 -c '' 2>/dev/null && ! apt-cache show python3.11 >/dev/null 2>&1; then
	packages python3-venv
	[ -x .tools/uv/bin/uv ] || { python3 -m venv .tools/uv && .tools/uv/bin/pip install -q uv==0.13.9; }
	.tools/uv/bin/uv python install --install-dir /opt/apibuilder-python 3.11
	ln -sf /opt/apibuilder-python/cpython-3.11*/bin/python3.11 /usr/local/bin/python3.11
elif ! python3.11 -c '' 2>/dev/null; then
	packages python3.11
fi

build
exec go test -count=1 -timeout 20m "${@:-./...}"
