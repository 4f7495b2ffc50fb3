#!/usr/bin/env bash
# Builds what is released, into dist or the directory given: scripts/package.sh [DIR]. The static binary, the Debian package
# and the list of what is in the binary (SBOM, CycloneDX). The same commit gives the same bytes, wherever it is built.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
scripts/tools.sh cyclonedx-gomod
out=${1:-dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

release_settings
ARCH=$(go env GOARCH)
VERSION=$(release_version)
# What is between two releases sorts before the next one, and by its time.
PRERELEASE=
! grep -q "^## \[$VERSION\] - unreleased" CHANGELOG.md || PRERELEASE=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
ROOT=$scratch/root CONFIG=$scratch/config.toml
export ARCH VERSION PRERELEASE ROOT CONFIG

build_into "$out/apibuilder"
.tools/cyclonedx-gomod bin -json -output-version 1.6 -version "$VERSION" -noserial -output "$scratch/sbom.json" "$out/apibuilder"
python3 scripts/sbom.py "$SOURCE_DATE_EPOCH" <"$scratch/sbom.json" >"$out/apibuilder.cdx.json"

# compressed NAME puts its standard input below the root as a package has it.
compressed() { mkdir -p "$(dirname "$ROOT/$1")" && gzip -9n >"$ROOT/$1.gz"; }

"$out/apibuilder" install --root "$ROOT" --packaged >/dev/null
mv "$ROOT/etc/apibuilder/config.toml" "$CONFIG"
rm -r "$ROOT/etc"
"$out/apibuilder" man | compressed usr/share/man/man8/apibuilder.8
complete() { # SHELL FILE
	mkdir -p "$(dirname "$ROOT/$2")"
	"$out/apibuilder" completion "$1" >"$ROOT/$2"
}
complete bash usr/share/bash-completion/completions/apibuilder
complete zsh usr/share/zsh/vendor-completions/_apibuilder
complete fish usr/share/fish/vendor_completions.d/apibuilder.fish
doc=usr/share/doc/apibuilder
compressed $doc/CHANGELOG.md <CHANGELOG.md
compressed $doc/changelog <<CHANGELOG
apibuilder ($VERSION${PRERELEASE:+~$PRERELEASE}) unstable; urgency=medium

  * What is new is in CHANGELOG.md.

 -- $(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
mkdir -p "$ROOT/usr/share/lintian/overrides"
cp packaging/lintian-overrides "$ROOT/usr/share/lintian/overrides/apibuilder"
cp README.md "$ROOT/$doc/"
cp -r docs "$ROOT/$doc/docs"
rm -r "$ROOT/$doc/docs/monitoring/check"
cp "$out/apibuilder.cdx.json" "$ROOT/$doc/"
cp packaging/copyright "$ROOT/$doc/"
find "$ROOT" -type d -exec chmod 755 {} +
find "$ROOT" -type f ! -path '*/usr/bin/*' -exec chmod 644 {} +
find "$ROOT" "$CONFIG" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

package=apibuilder_${VERSION}${PRERELEASE:+~$PRERELEASE}_$ARCH.deb
go build -C packaging/deb -o "$scratch/deb" .
"$scratch/deb" packaging/nfpm.yaml "$out/$package"
(cd "$out" && sha256sum apibuilder "$package" apibuilder.cdx.json | tee SHA256SUMS)
