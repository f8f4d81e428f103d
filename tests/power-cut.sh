#!/usr/bin/env bash
# Cuts the power of a disk while a program writes to a store on it: a file system in a file is shut
# down without its journal, so that what was not synced is really gone, and is mounted again. After
# each cut the store must open and hold whatever was acknowledged. Needs root, a loop device, ext4 and
# perl; says what it skipped without them. Takes about ten seconds.
#
#   sudo bash tests/power-cut.sh [CUTS]
set -euo pipefail
cd "$(dirname "$0")/.."
cuts=${1:-20}

skip() {
  echo "skipped: the power cuts, because $1"
  exit 0
}
[[ $(id -u) -eq 0 ]] || skip "mounting a file system takes root"
for tool in mkfs.ext4 losetup mount umount perl; do
  command -v "$tool" >/dev/null || skip "there is no $tool"
done

scratch=$(mktemp -d)
disk="$scratch/disk"
mkdir "$disk"
is_mounted() { mountpoint -q "$disk"; }
trap 'is_mounted && umount -l "$disk"; rm -rf "$scratch"' EXIT
truncate -s 64M "$scratch/image"
mkfs.ext4 -q "$scratch/image"
mount -o loop "$scratch/image" "$disk" 2>/dev/null || skip "no loop device can be mounted here"

# FS_IOC_SHUTDOWN, without flushing the journal: what a power cut leaves.
cut_power() {
  perl -e 'sysopen(my $disk, $ARGV[0], 0) or die "$!\n"; my $how = pack("L", 2);
           ioctl($disk, 0x8004587d, $how) or die "$!\n"' "$disk"
}

cargo build --quiet -p synod-runtime --example store_sweep
program="${CARGO_TARGET_DIR:-target}/debug/examples/store_sweep"

last=0
lost_witnesses=0
for ((cut = 1; cut <= cuts; cut++)); do
  : >"$scratch/acknowledged"
  "$program" write "$disk/store" 1000000 >"$scratch/acknowledged" 2>"$scratch/words" &
  writer=$!
  sleep "0.$((RANDOM % 50 + 10))"
  # Nobody syncs this one: it has to be gone, or the cut was none.
  echo witness >"$disk/witness-$cut"
  if ! cut_power 2>"$scratch/refused"; then
    kill "$writer"
    wait "$writer" || true
    skip "the file system cannot be shut down: $(cat "$scratch/refused")"
  fi
  code=0
  wait "$writer" || code=$?
  if [[ $code -eq 0 ]]; then
    echo "UNNOTICED: the program went on after cut $cut"
    exit 1
  fi
  umount "$disk"
  mount -o loop "$scratch/image" "$disk"
  [[ -s $disk/witness-$cut ]] || lost_witnesses=$((lost_witnesses + 1))
  acknowledged=$(tail -n 1 "$scratch/acknowledged")
  last=${acknowledged:-$last}
  if ! "$program" verify "$disk/store" "$last" 2>"$scratch/verdict"; then
    echo "LOST after cut $cut: $(cat "$scratch/verdict")"
    exit 1
  fi
done
if [[ $lost_witnesses -eq 0 ]]; then
  echo "NO CUT: what nobody had synced was there every time"
  exit 1
fi
echo "$cuts cuts, $last records: nothing acknowledged was lost; $lost_witnesses files that nobody" \
  "had synced were gone"
