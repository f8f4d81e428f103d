#!/usr/bin/env bash
# Ends a program that writes to a store at every one of its system calls on the store's files: by
# SIGKILL, and by errors (EIO, ENOSPC). After each, the store must open and hold whatever was
# acknowledged. Needs strace; says what it skipped without it. Takes about a minute.
#
#   bash tests/store-sweep.sh
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v strace >/dev/null; then
  echo "skipped: the sweep over system calls, because there is no strace"
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! strace -o "$scratch/try" true 2>/dev/null; then
  echo "skipped: the sweep over system calls, because strace may not trace here"
  exit 0
fi

cargo build --quiet -p synod-runtime --example store_sweep
program="${CARGO_TARGET_DIR:-target}/debug/examples/store_sweep"
store="$scratch/store"
files=(-P "$store" -P "$store/node.log" -P "$store/node.log.new" -P "$store/node.note")
# A store with a past, so that the sweep meets a log that is read, continued and replaced.
"$program" write "$scratch/past" >/dev/null

# Runs the program with a fault at the n-th call of a kind; then looks whether all is there.
attempt() { # call fault n
  rm -rf "$store"
  cp -r "$scratch/past" "$store"
  local code=0
  strace -f -qq -o "$scratch/trace" "${files[@]}" -e "trace=$1" -e "inject=$1:$2:when=$3" \
    "$program" write "$store" >"$scratch/acknowledged" 2>"$scratch/words" || code=$?
  local last
  last=$(tail -n 1 "$scratch/acknowledged")
  if ! "$program" verify "$store" "${last:-6}" 2>"$scratch/verdict"; then
    echo "LOST: $1, $2, call $3: $(cat "$scratch/verdict")"
    exit 1
  fi
  # A fault in a write, a sync or a rename must not pass for success.
  if [[ $code -eq 0 && $2 == error=* ]]; then
    echo "UNNOTICED: $1, $2, call $3"
    exit 1
  fi
}

total=0
for call in openat read write fsync rename unlink ftruncate lseek getdents64; do
  rm -rf "$store"
  cp -r "$scratch/past" "$store"
  strace -f -qq -o "$scratch/trace" "${files[@]}" -e "trace=$call" \
    "$program" write "$store" >/dev/null
  calls=$(grep -c "$call(" "$scratch/trace" || true)
  faults=(signal=SIGKILL)
  case $call in
    write | fsync | rename) faults+=(error=EIO error=ENOSPC) ;;
  esac
  for fault in "${faults[@]}"; do
    for ((n = 1; n <= calls; n++)); do
      attempt "$call" "$fault" "$n" 2>/dev/null # The shell tells of each kill.
      total=$((total + 1))
    done
  done
  echo "$call: $calls calls, each met by ${faults[*]}"
done
echo "$total faults: nothing acknowledged was lost, no error passed unnoticed"
