#!/usr/bin/env bash
# Runs a job as root in a fresh virtual machine with pure cgroup v2:
#
#   run.sh [--timeout SECONDS] [--silence SECONDS] [--memory SIZE] [--network] JOBDIR
#
# JOBDIR is copied to /job in the guest, where /job/run is executed. Its output (both streams, as one) is our standard
# output, as it comes; its exit status is ours (128+N when signal N ended it). What it leaves in /job/out replaces
# JOBDIR-out. Everything else that can happen is an error of the machine, told on standard error with the end of the
# console: 100 wrong use or host, 101 the guest never reached the job (after two tries), 102 the guest ended without
# telling the job's result, 103 the job ran longer than --timeout (300), 104 the job said nothing for --silence (without it, it may),
# and nothing again in a second machine: give it a job that speaks sooner than that however it fails.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
boot_timeout=400 # a boot takes 7 s, and 40 s were seen on a host under heavy load
job_room_mib=2048 # free space on /job, sparse
out_mib=1024     # the most that /job/out may hold, sparse
qemu='' relay='' dir='' told=''
network=() # options for a network, which is off unless it is asked for

say() { printf 'vm: %s\n' "$*" >&2; }

# leave ends the run with a status that was meant; leave_clean makes every other end a failure of the machine, so that no
# failing command of this script passes for the job's exit status.
leave() { told=yes; exit "$1"; }
# shellcheck disable=SC2317 # a trap calls it
leave_clean() {
  end_qemu
  [[ -z $dir ]] || rm -rf "$dir"
  [[ -n $told ]] || { say "run.sh itself failed"; exit 100; }
}

die() { say "${@:2}"; leave "$1"; }

# fail ends the run with the code $1 and shows how the console ended.
fail() {
  local code=$1
  shift
  say "$*; the console ends with:"
  console
  leave "$code"
}

console() { tail -n 40 "$dir/console" 2>/dev/null | tr -d '\r' | sed 's/^/vm:   /' >&2 || true; }

parse() {
  timeout=300 silence=0 memory=2G job=
  while (($#)); do
    case $1 in
      --timeout | --silence | --memory) (($# > 1)) || die 100 "$1 needs a value"; declare -g "${1#--}=$2"; shift 2 ;;
      --network) network=(-netdev "user,id=net" -device "virtio-net-pci,netdev=net,romfile="); shift ;;
      -*) die 100 "unknown option $1: use --timeout SECONDS, --silence SECONDS, --memory SIZE or --network" ;;
      *) [[ -z $job ]] || die 100 "one job directory at a time, got $job and $1"; job=$1; shift ;;
    esac
  done
  [[ -n $job ]] || die 100 "name the job directory: run.sh [--timeout SECONDS] [--silence SECONDS] [--memory SIZE] JOBDIR"
  [[ $timeout =~ ^[1-9][0-9]*$ ]] || die 100 "--timeout $timeout: give whole seconds, like 300"
  [[ $silence =~ ^(0|[1-9][0-9]*)$ ]] || die 100 "--silence $silence: give whole seconds, like 120"
  [[ $memory =~ ^[1-9][0-9]*[MG]$ ]] || die 100 "--memory $memory: give a size like 512M or 2G"
  [[ -f $job/run && -x $job/run ]] || die 100 "$job/run: the job directory needs an executable file named run"
  job=$(cd "$job" && pwd)
}

# make_drives writes the job's drive, sized by its content, and an empty one for what it brings out.
make_drives() {
  local size inodes
  rm -f "$dir/job.img"
  size=$(($(du -sm --apparent-size "$job" | cut -f1) * 5 / 4 + job_room_mib))
  inodes=$(($(find "$job" | wc -l) * 5 / 4 + 65536))
  mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,root_owner=0:0 -m 0 -N "$inodes" -d "$job" \
    "$dir/job.img" "${size}M" >/dev/null || die 100 "the drive of $job could not be made"
  rm -f "$dir/out.img"
  truncate -s "${out_mib}M" "$dir/out.img"
}

end_qemu() {
  [[ -z $qemu ]] || kill -KILL -- "-$qemu" 2>/dev/null || true
  [[ -z $qemu ]] || wait "$qemu" 2>/dev/null || true
  qemu=
  [[ -z $relay ]] || wait "$relay" 2>/dev/null || true # it ends when QEMU has
  relay=
}

# start_qemu boots the guest, with "fast" by KVM where QEMU can use it, and else emulated. Serial ports: the console; the
# job's output, a file that is passed on as it grows, so that it can be seen whether it does; and what the guest reports,
# which the function leaves open for reading as descriptor 5. Only QEMU keeps the other end of that pipe, so the end of
# QEMU in any way is an end of file there.
start_qemu() {
  rm -f "$dir/report" "$dir/console"
  : >"$dir/output"
  mkfifo "$dir/report"
  # shellcheck disable=SC2094 # both ends of one pipe are what is wanted
  exec 3<>"$dir/report" 4>"$dir/report" 5<"$dir/report"
  local machine=(qemu-system-x86_64 -machine q35 -device isa-serial,chardev=console -device isa-serial,chardev=output
    -device isa-serial,chardev=report,irq=5) console=ttyS0
  if [[ ${APIBUILDER_VM_ARCH:-amd64} == arm64 ]]; then # its own serial port is no ttyS: a card stands for the first, so that the others have their names
    machine=(qemu-system-aarch64 -machine "virt,gic-version=3" -serial chardev:console -chardev null,id=nobody -device pci-serial,chardev=nobody
      -device pci-serial,chardev=output -device pci-serial,chardev=report) console=ttyAMA0
  fi
  local accelerator=(-accel tcg,thread=multi,tb-size=512)
  [[ $1 != fast ]] || accelerator=(-accel kvm "${accelerator[@]}")
  # One NVMe controller with three namespaces: controllers are numbered as their probes finish, namespaces are not.
  TMPDIR=$dir setsid setpriv --pdeathsig KILL "${machine[@]}" \
    -chardev "file,id=console,path=$dir/console" -chardev "file,id=output,path=$dir/output" -chardev "file,id=report,path=$dir/report" \
    "${accelerator[@]}" -cpu max -smp 2 -m "$memory" \
    -nodefaults -no-user-config -display none -no-reboot ${network[@]+"${network[@]}"} \
    -kernel "$image/vmlinuz" -append "console=$console root=/dev/nvme0n1 rw loglevel=5 panic=-1 mitigations=off \
random.trust_cpu=on cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 systemd.show_status=error TERM=dumb" \
    -device nvme,id=nvme,serial=vm \
    -drive "file=$image/root.img,if=none,id=root,format=raw,snapshot=on,cache=unsafe" \
    -device nvme-ns,drive=root,bus=nvme,nsid=1 \
    -drive "file=$dir/job.img,if=none,id=job,format=raw,cache=unsafe" \
    -device nvme-ns,drive=job,bus=nvme,nsid=2 \
    -drive "file=$dir/out.img,if=none,id=out,format=raw,cache=unsafe,discard=unmap" \
    -device nvme-ns,drive=out,bus=nvme,nsid=3 \
    </dev/null >/dev/null 2>"$dir/qemu" 3>&- 5<&- &
  qemu=$!
  exec 3>&- 4>&-
  tail -c +1 -f --pid="$qemu" "$dir/output" 5<&- &
  relay=$!
}

# await reads reports until one starts with $1 and leaves it in $report; it passes on notes. It returns 1 when the guest
# has ended, 2 when $2 seconds have passed, and 3 when the job has said nothing for $3 seconds (0: it may).
await() {
  local deadline=$((SECONDS + $2)) quiet=${3:-0} heard=$SECONDS had=0 has left code part=''
  while left=$((deadline - SECONDS)) && ((left > 0)); do
    code=0
    ((quiet == 0 || left < 5)) || left=5 # to look in between
    read -r -t "$left" -u 5 report || code=$?
    has=$(stat -c %s "$dir/output")
    ((has == had)) || heard=$SECONDS had=$has
    if ((code > 128)); then
      part+=$report
      ((quiet == 0 || SECONDS - heard < quiet)) || return 3
      continue
    fi
    ((code == 0)) || return 1
    report=$part${report%$'\r'} part=''
    [[ $report != "$1"* ]] || return 0
    [[ $report != note\ * ]] || say "${report#note }"
  done
  return 2
}

# by_hardware says whether KVM can run this guest. Where the processor has no virtualization there may be a /dev/kvm all the same,
# by page tables (kvm_pvm), but only for kernels that are made for it: Debian's would stand still there, without a word.
by_hardware() { [[ ${APIBUILDER_VM_ARCH:-amd64} == amd64 && ${APIBUILDER_VM_KVM:-} != no && -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; }

# boot brings the guest to the job's start. The second try is without KVM, which may be there and not work.
boot() {
  local try code speed=emulated
  ! by_hardware || speed=fast
  for try in 1 2; do
    start_qemu "$speed"
    speed=emulated
    code=0
    await job-started "$boot_timeout" || code=$?
    ((code != 0)) || return 0
    end_qemu
    cat "$dir/qemu" >&2
    ((try == 2)) || say "the guest did not reach the job, trying once more"
  done
  ((code == 2)) && fail 101 "the guest did not reach the job within $boot_timeout s"
  fail 101 "the guest ended before it reached the job"
}

# job_status turns "job-ended CODE STATUS" into an exit status. CODE is 1 when the job exited by itself, 2 or 3 when a
# signal ended it.
job_status() {
  [[ $report =~ ^job-ended\ ([123])\ ([0-9]+)$ ]] || return 1
  local code=${BASH_REMATCH[1]} status=${BASH_REMATCH[2]}
  echo $((code == 1 ? status : 128 + status))
}

# seconds_of is the processor time of a process and its threads: next to none for a machine that waits, all that there is for one that
# goes round in circles.
seconds_of() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%d", ($12 + $13) / tick }' "/proc/$1/stat"; }

take_out() {
  [[ $(dd if="$dir/out.img" bs=1 skip=257 count=5 status=none | tr -d '\0') == ustar ]] || return 0
  mkdir "$job-out"
  tar -C "$job-out" --no-same-owner -xf "$dir/out.img" || say "$job-out is not complete"
}

main() {
  local code status try
  trap leave_clean EXIT
  trap 'leave 130' INT
  trap 'leave 143' TERM HUP
  parse "$@"
  image=$("$here/build.sh") || die 100 "there is no image to boot"
  dir=$(mktemp -d "${TMPDIR:-/tmp}/apibuilder-vm.XXXXXX")
  rm -rf "$job-out"
  for try in 1 2; do
    make_drives
    boot
    code=0
    await job-ended "$timeout" "$silence" || code=$?
    ((code == 3)) || break
    ((try == 1)) || fail 104 "the job said nothing for $silence s in a second machine too"
    say "the job said nothing for $silence s; QEMU took $(seconds_of "$qemu") s of processor time; a fresh machine runs it once more; the console ends with:"
    console
    end_qemu
  done
  ((code != 2)) || fail 103 "the job ran longer than $timeout s"
  ((code != 1)) || fail 102 "the guest ended without telling the job's result"
  status=$(job_status) || fail 102 "the guest told a result that means nothing: $report"
  await nothing-more 10 || end_qemu # it switches itself off now, and QEMU ends
  take_out
  leave "$status"
}

main "$@"
