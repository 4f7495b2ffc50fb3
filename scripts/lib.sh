# Sourced by the other scripts: finds Go and installs the few Debian packages that the project needs.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
	echo "error: $*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root, because it makes sandboxes: run it with sudo"
}

# find_go puts a Go into the PATH, which sudo may have taken out of it, that is new enough to fetch the one that go.mod wants: some
# distributions forbid theirs to.
find_go() {
	local go found='' version
	export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
	for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go /usr/lib/go-1.*/bin/go /snap/bin/go \
		"${SUDO_USER:+$(getent passwd "$SUDO_USER" | cut -d: -f6)/go/bin/go}"; do
		[ -f "$go" ] && [ -x "$go" ] || continue
		version=$(cd / && GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) || continue
		case $version in
		go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.20*) found=${found:-$go is $version} ;;
		*)
			PATH=$(dirname "$go"):$PATH
			return
			;;
		esac
	done
	die "Go 1.21 or later is not installed${found:+ ($found)}: get it from your distribution (apt-get install golang-go; on" \
		"Debian 12 from bookworm-backports) or from https://go.dev/dl"
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
	# A machine that has just booted may be upgrading itself.
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# index_settings JOB hands a guest how this host reaches package indexes. A folder of wheels is here only, unless the job has a cache:
# an environment is found in that again only with the same settings.
index_settings() {
	env | grep -E '^(PIP|UV)_' | { [ -d "$1/cache" ] && cat || grep -v FIND_LINKS; } >"$1/environment" || true
	[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$1/"
}

# release_version is what CHANGELOG.md says of the newest version.
release_version() { sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -1; }

# release_settings leave nothing of this machine in what is built.
release_settings() {
	unset "${!APIBUILDER_@}" # they would be settings of the service
	export CGO_ENABLED=0 GOFLAGS='' GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT='' LC_ALL=C.UTF-8 TZ=UTC
	umask 022
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
	export SOURCE_DATE_EPOCH
}

# build_into FILE; Go's own stamp of the commit is left out, because it depends on what kind of working copy this is.
build_into() {
	local commit
	commit=$(git rev-parse HEAD 2>/dev/null || echo unknown) # git refuses root a working copy of somebody else's
	[ "$commit" = unknown ] || git diff --quiet HEAD || commit=$commit-changed
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -pgo packaging/apibuilder.pgo -o "$1" \
		-ldflags "-s -w -buildid= -X apibuilder/cli.release=$(release_version) -X apibuilder/cli.commit=$commit" .
}

build() {
	[ -e bin/apibuilder ] || echo "building bin/apibuilder, which takes minutes for the first time" >&2
	mkdir -p bin
	build_into bin/apibuilder
}
