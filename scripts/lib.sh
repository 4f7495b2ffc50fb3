# Sourced by the other scripts: finds Go and installs the few Debian packages that the project needs.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
	echo "error: $*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root, because it makes sandboxes: run it with sudo"
}

# sudo drops the PATH on which Go usually is.
find_go() {
	command -v go >/dev/null && return
	for dir in /usr/local/go/bin /usr/lib/go/bin "${SUDO_USER:+$(getent passwd "$SUDO_USER" | cut -d: -f6)/go/bin}"; do
		if [ -n "$dir" ] && [ -x "$dir/go" ]; then
			PATH=$dir:$PATH
			return
		fi
	done
	die "Go is not installed: get it from your distribution (apt-get install golang-go) or from https://go.dev/dl"
}

# packages NAME... installs those that are missing.
packages() {
	local missing=() name
	for name in "$@"; do
		dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
	done
	[ ${#missing[@]} = 0 ] && return
	echo "installing ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
	mkdir -p bin
	local version commit
	version=$(sed -n 's/^## \[\(.*\)\].*/\1/p' CHANGELOG.md | head -1)
	commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X apibuilder/cli.version=$version -X apibuilder/cli.commit=$commit" \
		-o bin/apibuilder .
}
