#!/bin/sh
# The service on a Debian that really boots, in a container: notify, watchdog, restart, credential, socket
# activation, and documents read under everything the unit forbids. boot.sh FOLDER_OF_THE_RELEASE
set -eu
. "$(dirname -- "$0")/lib.sh"
need_root_and_namespaces
command -v systemd-nspawn >/dev/null || skip 'systemd-nspawn is not installed'
# The unit asks for a user namespace, and the kernel gives none inside a chroot.
unshare --user true 2>/dev/null || skip 'this machine, or the chroot this runs in, allows no user namespaces'
own_namespaces "$0" "$@"

longest_boot_s=180

new_chroot bookworm ca-certificates,curl,systemd,systemd-sysv
cp "$1"/pagewire_*.deb "$chroot/root/pagewire.deb"
mount -t proc proc "$chroot/proc"
in_chroot dpkg --install /root/pagewire.deb >"$chroot/install.log" 2>&1 || { cat "$chroot/install.log"; exit 1; }
umount "$chroot/proc"
sed -i 's/^#route = .*/route = "loopback"/' "$chroot/etc/pagewire/pagewire.toml"
cp "$root/packaging/test/lib.sh" "$root/packaging/test/booted.sh" "$chroot/root/"

# The tests are the last thing the machine does.
cat >"$chroot/etc/systemd/system/booted.service" <<'UNIT'
[Unit]
After=pagewire.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /root/booted.sh >/root/result 2>&1'
ExecStopPost=/bin/systemctl --no-block poweroff
UNIT
ln -s ../booted.service "$chroot/etc/systemd/system/multi-user.target.wants/"

# Where no systemd runs outside, the machine's control groups have fixed names: two at once would disturb each other.
exec 9>"${TMPDIR:-/tmp}/pagewire-boot.lock"
flock 9
if [ -d /run/systemd/system ]; then unit=; else unit=--keep-unit; fi

# A network of its own, so that its ports are free whatever runs on this machine.
# shellcheck disable=SC2086 # an option or none
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout --kill-after=20 "$longest_boot_s" \
  systemd-nspawn --quiet --directory="$chroot" --machine=pagewire-test --register=no $unit \
  --private-network --console=pipe --boot </dev/null >"$chroot/boot.log" 2>&1 9>&- || true

[ -e "$chroot/root/result" ] || skip "no Debian boots in a container here: $(tail -n 1 "$chroot/boot.log")"
cat "$chroot/root/result"
check 'the tests in it came to their end' grep '^end$' "$chroot/root/result"
all_passed && ! grep -q '^not ok' "$chroot/root/result"
