#!/usr/bin/env bash
# Sets up what the tests need and runs all of them: scripts/test.sh [arguments of go test].
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
packages python3 python3-venv ca-certificates curl chromium postgresql pgbouncer redis-server haproxy iproute2
find_go

get_uv() {
	[ -x .tools/uv/bin/uv ] || { python3 -m venv .tools/uv && .tools/uv/bin/pip install -q uv==0.13.9; }
}

# The tests show packages that have wheels for Python 3.11 only up to a version; a newer system gets that Python by uv.
if ! python3.11 -c '' 2>/dev/null && ! apt-cache show python3.11 >/dev/null 2>&1; then
	get_uv
	.tools/uv/bin/uv python install --install-dir /opt/apibuilder-python 3.11
	ln -sf /opt/apibuilder-python/cpython-3.11*/bin/python3.11 /usr/local/bin/python3.11
elif ! python3.11 -c '' 2>/dev/null; then
	packages python3.11
fi

# They show a second Python beside the system's: one that is here already, below root's home for example, or uv's.
if [ -z "${APIBUILDER_TEST_PYTHON310:-}" ]; then
	APIBUILDER_TEST_PYTHON310=$(ls -d /opt/apibuilder-python/cpython-3.10*/bin/python3.10 \
		"$HOME"/.pyenv/versions/3.10*/bin/python3.10 2>/dev/null | head -1 || true)
fi
if [ -z "$APIBUILDER_TEST_PYTHON310" ]; then
	get_uv
	.tools/uv/bin/uv python install --install-dir /opt/apibuilder-python 3.10 ||
		die "the tests need a Python 3.10: uv could not download it, so install one and set APIBUILDER_TEST_PYTHON310 to its path"
	APIBUILDER_TEST_PYTHON310=$(ls -d /opt/apibuilder-python/cpython-3.10*/bin/python3.10 | head -1)
fi
export APIBUILDER_TEST_PYTHON310

build
# Many tests wait for other programs, so one package more than there are processors. The longest of them begins first.
[ $# -gt 0 ] || set -- ./internal/endtoend ./...
exec go test -count=1 -timeout 40m -p $(($(nproc) + 1)) "$@"
