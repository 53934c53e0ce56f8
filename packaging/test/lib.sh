# What the package tests share: TAP output, and cached Debian chroots. Sourced with `set -eu` in force.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
suite=$(basename -- "$0" .sh)
cache=$root/target/cache
failed=0

# check NAME COMMAND…: one line of TAP; what the command printed is shown when it fails.
# Commands that are functions of several steps join them with &&: `set -e` does not reach in here.
check() {
  check_name="$suite: $1"
  shift
  check_log=$(mktemp)
  if "$@" >"$check_log" 2>&1; then
    echo "ok - $check_name"
  else
    echo "not ok - $check_name"
    sed 's/^/#   /' "$check_log"
    failed=$((failed + 1))
  fi
  rm "$check_log"
}

# skip REASON: ends a suite that cannot run here; it is counted as skipped.
skip() {
  echo "ok - $suite # SKIP $1"
  exit 0
}

# The last command of a suite: its exit status.
all_passed() {
  [ "$failed" = 0 ]
}

# The suites mount and boot: in namespaces of their own, so that nothing is left whatever happens.
need_root_and_namespaces() {
  [ "$(id -u)" = 0 ] || skip 'needs root'
  command -v debootstrap >/dev/null || skip 'debootstrap is not installed'
  unshare --mount true 2>/dev/null || skip 'this machine allows no mount namespaces'
}

# own_namespaces SCRIPT ARGS…: runs the script again inside them; its processes end with it.
own_namespaces() {
  if [ -z "${PAGEWIRE_OWN_NAMESPACES:-}" ]; then
    PAGEWIRE_OWN_NAMESPACES=1 exec unshare --mount --pid --fork --kill-child --mount-proc sh "$@"
  fi
  unset PAGEWIRE_OWN_NAMESPACES
}

# new_chroot SUITE PACKAGES: unpacks a Debian with these packages and sets $chroot to its folder.
# The archive is kept, because making it takes half a minute and the network.
new_chroot() {
  archive=$cache/$1-$(echo "$2" | cksum | cut -d ' ' -f 1).tar
  chroot=$(mktemp -d)
  chmod 755 "$chroot"
  trap 'remove_chroot' EXIT
  if [ -e "$archive" ]; then
    tar -C "$chroot" -xf "$archive"
    return
  fi
  mkdir -p "$cache"
  # Once more if it breaks off: it is hundreds of downloads.
  make_debian "$@" || make_debian "$@" ||
    skip "debootstrap could not make a Debian $1: $(grep '^[WE]:' "$cache/debootstrap.log" | tail -n 1)"
  tar --one-file-system -C "$chroot" -cf "$archive.part" .
  mv "$archive.part" "$archive"
}

make_debian() {
  find "$chroot" -xdev -mindepth 1 -delete
  debootstrap --variant=minbase --include="$2" "$1" "$chroot" >"$cache/debootstrap.log" 2>&1
}

# Nothing is deleted while anything is mounted below: it might be somebody's home.
remove_chroot() {
  awk -v below="$chroot" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r |
    while read -r mounted; do
      umount "$mounted" 2>/dev/null || umount --lazy "$mounted"
    done
  if grep -q " $chroot" /proc/self/mounts; then
    echo "# $chroot is left: something is still mounted in it"
  else
    rm -rf --one-file-system "$chroot"
  fi
}

# in_chroot COMMAND…: runs a command in the chroot with nothing of our own environment.
in_chroot() {
  chroot "$chroot" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# until_true SECONDS COMMAND…
until_true() {
  tries=$(($1 * 10))
  shift
  while ! "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "gave up waiting for: $*"; return 1; }
    sleep 0.1
  done
}
