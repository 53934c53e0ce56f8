#!/bin/sh
# What a newcomer does: on a Debian with only git and a shell, clone, `./dev demo`, paste the lines, `./dev test`.
# fresh-clone.sh [SUITE [PART]]: all tests, or one part of them. Takes most of an hour and several GB; prints TAP.
set -eu
. "$(dirname -- "$0")/lib.sh"
need_root_and_namespaces
own_namespaces "$0" "$@"

debian=${1:-bookworm}
part=${2:-}
longest_build_s=2400

# In the clone, as a fresh login of root would be.
in_clone() {
  chroot "$chroot" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    sh -c 'cd /root/pagewire && exec "$@"' sh "$@"
}

make_machine() {
  new_chroot "$debian" git
  # The tests make namespaces themselves, which needs a root folder that is a mount.
  mount --bind "$chroot" "$chroot"
  for folder in proc sys dev; do
    mount --rbind "/$folder" "$chroot/$folder"
    mount --make-rslave "$chroot/$folder"
  done
  cp /etc/resolv.conf "$chroot/etc/resolv.conf"
  # As Debian's installer writes it, and debootstrap does not.
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$chroot/etc/hosts"
  # Certificates this machine was told to trust, as a company's proxy needs; Debian takes them from there.
  mkdir -p "$chroot/usr/local/share/ca-certificates"
  find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$chroot/usr/local/share/ca-certificates/" \;
  git clone --quiet --bare "$root" "$chroot/source.git"
  in_chroot git -c safe.directory='*' clone --quiet file:///source.git /root/pagewire
}

# The one step that may be replaced: where rustup cannot be reached, this machine's toolchain is copied.
copy_rust_if_it_cannot_be_fetched() {
  in_clone ./dev install-tools build && return
  echo "# UNVERIFIED: Rust could not be fetched in the chroot; this machine's toolchain was copied in"
  sysroot=$(rustc --print sysroot)
  tar -C "$sysroot" --exclude=./share -cf - . | tar -C "$chroot/usr/local" -xf -
}

# `dev` and the program it becomes keep the process id that is noted here.
start_demo() {
  # shellcheck disable=SC2016 # for the shell in there
  in_clone sh -c 'echo $$ >/root/demo.pid; exec ./dev demo' >"$chroot/demo.log" 2>"$chroot/demo.err" &
  demo=$!
}

demo_gets_ready() {
  until_true "$longest_build_s" grep 'Ctrl-C stops it' "$chroot/demo.log" || { tail -n 40 "$chroot/demo.err"; return 1; }
}

# Pastes what the demo printed up to its first curl line.
pasted_lines_send_a_fax() {
  sed -n 's/^  \(export\|echo\|curl\) /\1 /p' "$chroot/demo.log" | sed '/^curl/q' >"$chroot/root/pagewire/pasted"
  cat "$chroot/root/pagewire/pasted"
  in_clone sh ./pasted >"$chroot/answer" && cat "$chroot/answer" && rm "$chroot/root/pagewire/pasted" &&
    grep '^{"id"' "$chroot/answer"
}

demo_stops() {
  kill -TERM "$(cat "$chroot/root/demo.pid")" && wait "$demo"
}

tests_pass() {
  # shellcheck disable=SC2086 # no argument when no part is named
  in_clone ./dev test $part >"$chroot/test.log" 2>&1
  status=$?
  tail -n 1 "$chroot/test.log" >&3
  [ "$status" = 0 ] || { grep -A 3 -E '^not ok|FAIL|✖|# SKIP|panicked' "$chroot/test.log"; tail -n 60 "$chroot/test.log"; }
  return "$status"
}

tools_are_installed_quickly_again() {
  started=$(date +%s)
  in_clone ./dev install-tools && took=$(($(date +%s) - started)) && echo "$took s" && [ "$took" -le 2 ]
}

exec 3>&1
make_machine
copy_rust_if_it_cannot_be_fetched
start_demo
check 'the demo gets ready' demo_gets_ready
check 'its pasted lines send a fax' pasted_lines_send_a_fax
check 'the demo stops' demo_stops
check 'the tests pass' tests_pass
check 'a second installation of tools takes no time' tools_are_installed_quickly_again
all_passed
