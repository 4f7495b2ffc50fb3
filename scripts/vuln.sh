#!/usr/bin/env bash
# Checks the dependencies: none retracted or deprecated, all of them what go.sum says, and none with a known vulnerability
# in code that is called. The last needs the Go vulnerability database. Where that cannot be reached the script says so
# in its last line and ends with status 3, so that nobody takes it for a pass.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
scripts/tools.sh
go mod verify
mapfile -t modules < <(go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}' . | sort -u)
withdrawn=$(go list -m -u -retracted -f '{{if or .Retracted .Deprecated}}{{.Path}} {{.Version}}: {{.Retracted}} {{.Deprecated}}{{end}}' "${modules[@]}" | grep . || true)
[ -z "$withdrawn" ] || die "dependencies that their authors withdrew:"$'\n'"$withdrawn"

status=0
output=$(.tools/govulncheck ./... 2>&1) || status=$?
echo "$output"
if [ $status != 0 ] && grep -q 'fetching vulnerabilities' <<<"$output"; then
	echo "NOT CHECKED: the Go vulnerability database cannot be reached from here"
	exit 3
fi
exit $status
