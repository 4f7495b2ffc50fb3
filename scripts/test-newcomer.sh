#!/usr/bin/env bash
# Does what README says where there is Debian and nothing more, and says how long each step takes:
#   scripts/test-newcomer.sh       in a root of its own, with this machine's kernel and network
#   scripts/test-newcomer.sh --vm  on a virtual machine, see testdata/vm; emulated it takes hours, because it compiles
# With --tests after that also what README says of testing, which takes half an hour; arguments of go test may follow.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root
find_go
scratch=$(mktemp -d)
job=$scratch/job
trap 'rm -rf --one-file-system "$scratch"' EXIT
mkdir "$job"
cp testdata/vm/newcomer/* testdata/vm/network.sh /etc/ssl/certs/ca-certificates.crt "$job/"
git clone -q --bare --no-local --single-branch . "$job/apibuilder.git"
index_settings "$job"
go env GOPROXY GOSUMDB | sed '1s/^/GOPROXY=/; 2s/^/GOSUMDB=/' >>"$job/environment"
where=${1:-}
[ "$where" != --vm ] || shift
if [ "${1:-}" = --tests ]; then
	shift
	printf '%s\n' "$@" >"$job/tests"
fi
if [ "$where" = --vm ]; then
	testdata/vm/run.sh --network --memory 4G --timeout 14400 "$job"
	exit
fi

# The files of the virtual machine, with its own mounts and processes, all of which end with it. User ids are shared with this
# machine's servers, and so must be the locks that say which are taken.
root=$scratch/root
image=$(testdata/vm/build.sh)
mkdir "$root"
debugfs -R "rdump / $root" "$image/root.img" 2>/dev/null
chmod 1777 "$root/tmp" "$root/var/tmp" # debugfs forgets the sticky bit
cp /etc/resolv.conf "$root/etc/"
mkdir -p /run/apibuilder "$root/run/apibuilder" "$root/job" "$root/sys"
mv "$job"/* "$root/job/"
for python in "$HOME"/.pyenv/versions/3.10*; do # as scripts/test.sh finds it, where uv's downloads are out of reach
	[ ! -e "$root/job/tests" ] || [ ! -d "$python" ] || { mkdir -p "$root${python%/*}" && cp -a "$python" "$root$python"; }
done
# shellcheck disable=SC2016 # the inner shell expands it
unshare --mount --pid --fork --kill-child bash -euc '
	mount --bind "$1" "$1"
	mount -t proc proc "$1/proc"
	for dir in /dev /sys /run/apibuilder; do mount --rbind "$dir" "$1$dir"; done
	cd "$1"
	pivot_root . mnt # a plain chroot may make no user namespaces
	umount -l mnt
	exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 /job/run
' newcomer "$root"
