#!/usr/bin/env bash
# Installs the pinned checkers into .tools: scripts/tools.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
tools=$PWD/.tools
install() { # MODULE VERSION
	local stamp=$tools/.$(basename "$1")-$2
	[ -e "$stamp" ] && return
	echo "installing $1 $2"
	(cd / && GOFLAGS='' GOBIN=$tools go install "$1@$2")
	touch "$stamp"
}
mkdir -p "$tools"
install github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
install golang.org/x/vuln/cmd/govulncheck v1.9.0
