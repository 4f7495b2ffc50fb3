#!/usr/bin/env bash
# Sends what schemathesis makes of the management API's document to a server:
#   scripts/schemathesis.sh install
#   scripts/schemathesis.sh run DOCUMENT ADDRESS [TOKEN]
# SCHEMATHESIS_SECONDS bounds it, 12 if empty, SCHEMATHESIS_EXAMPLES is how many requests it makes up for each operation, 2 if empty, and
# SCHEMATHESIS_PHASES is what it does, fuzzing if empty; a long run has 1800, 100 and coverage,fuzzing.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$PWD/.tools/schemathesis
case ${1:-} in
install)
	if ! cmp -s scripts/schemathesis.txt "$tool/installed"; then
		python3 -m venv "$tool"
		"$tool/bin/pip" install -q --disable-pip-version-check -r scripts/schemathesis.txt
		cp scripts/schemathesis.txt "$tool/installed"
	fi
	;;
run)
	document=$(realpath "$2")
	header=()
	[ -z "${4:-}" ] || header=(-H "Authorization: Bearer $4")
	# A pattern that the document gives for a header is a rule of RFC 9110, and what breaks it is refused before it is compared.
	aside=$(mktemp -d) # it leaves what it found in the current directory
	trap 'rm -rf "$aside"' EXIT
	cd "$aside"
	"$tool/bin/schemathesis" run "$document" --url "$3" "${header[@]}" --no-color --seed "${SCHEMATHESIS_SEED:-1}" \
		--phases "${SCHEMATHESIS_PHASES:-fuzzing}" --max-examples "${SCHEMATHESIS_EXAMPLES:-2}" --workers 1 --request-timeout 60 --max-time "${SCHEMATHESIS_SECONDS:-12}" --no-shrink \
		--checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method
	;;
*)
	echo "usage: $0 install | run DOCUMENT ADDRESS [TOKEN]" >&2
	exit 2
	;;
esac
