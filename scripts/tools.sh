#!/usr/bin/env bash
# Installs pinned tools into .tools: scripts/tools.sh [NAME...], the checkers when none is named.
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
install_of() { # DIRECTORY: of a module that pins a tool from before modules, and what it is made of
	local stamp=$tools/.$(basename "$1")
	cmp -s "$1/go.sum" "$stamp" && return
	echo "installing the tool of $1"
	(cd "$1" && GOFLAGS='' GOBIN=$tools go install tool)
	cp "$1/go.sum" "$stamp"
}
mkdir -p "$tools"
[ $# -gt 0 ] || set -- golangci-lint govulncheck
for name in "$@"; do
	case $name in
	golangci-lint) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0 ;;
	govulncheck) install golang.org/x/vuln/cmd/govulncheck v1.9.0 ;;
	h2spec) install_of scripts/h2spec ;;
	cyclonedx-gomod) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod v1.10.0 ;;
	*) die "there is no tool $name" ;;
	esac
done
