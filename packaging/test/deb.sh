#!/bin/sh
# The package's whole life in a Debian chroot without systemd: install, one fax, reinstall, remove, purge.
# deb.sh FOLDER_OF_THE_RELEASE
set -eu
. "$(dirname -- "$0")/lib.sh"
need_root_and_namespaces
own_namespaces "$0" "$@"

package=$(echo "$1"/pagewire_*.deb)
settings=$root/packaging/deb/pagewire.toml
unit=$root/packaging/systemd/pagewire.service
key=bootstrap-key-of-the-package-test
port=18473
url=http://127.0.0.1:$port
https_port=18474
highest_exposure=1.6

# ---- Without installing -----------------------------------------------------------------------

lintian_is_silent() {
  complaints=$(lintian --allow-root --fail-on none "$package" 2>&1) && echo "$complaints" && [ -z "$complaints" ]
}

is_reproducible() {
  again=$(mktemp -d)
  "$root/packaging/deb/build" "$1/pagewire" "$again" && cmp "$package" "$again/$(basename "$package")"
  status=$?
  rm -r "$again"
  return "$status"
}

every_line_of_settings_is_good() {
  sed 's/^#\([a-z_]* = \)/\1/' "$settings" >"$chroot/tmp/all.toml" &&
    "$1/pagewire" check --config "$settings" && "$1/pagewire" check --config "$chroot/tmp/all.toml"
}

unit_is_valid() {
  # systemd looks for the program and the manual where the package puts them.
  mkdir -p "$chroot/unit" && dpkg-deb -x "$package" "$chroot/unit" &&
    sed "s,/usr/bin/pagewire,$chroot/unit/usr/bin/pagewire," "$unit" >"$chroot/tmp/pagewire.service" &&
    complaints=$(systemd-analyze verify --man=no "$chroot/tmp/pagewire.service" 2>&1 | grep pagewire || true) &&
    echo "$complaints" && [ -z "$complaints" ]
}

unit_is_hardened() {
  # systemd-analyze takes the threshold in tenths and fails above it.
  systemd-analyze security --offline=true --threshold="$(echo "$highest_exposure" | tr -d .)" "$unit"
}

manual_is_readable() {
  for page in "$root"/packaging/man/*; do
    complaints=$(MANWIDTH=80 man --warnings --local-file "$page" 2>&1 >/dev/null)
    echo "$page: $complaints"
    [ -z "$complaints" ] || return 1
  done
}

# ---- Installed --------------------------------------------------------------------------------

install_package() {
  cp "$package" "$chroot/tmp/pagewire.deb" && in_chroot dpkg --install /tmp/pagewire.deb
}

account_and_folder_are_there() {
  in_chroot getent passwd pagewire && in_chroot stat -c '%U %G %a' /var/lib/pagewire &&
    [ "$(in_chroot stat -c '%U %G %a' /var/lib/pagewire)" = 'pagewire pagewire 700' ]
}

ask() {
  curl --silent --show-error --fail --max-time 30 -H "X-API-Key: $key" "$@"
}

# As the unit would, as the system user and with an environment of its own.
start_server() {
  chroot --userspec=pagewire:pagewire "$chroot" /usr/bin/env -i API_KEY="$key" \
    /usr/bin/pagewire serve --listen "127.0.0.1:$port" --https-listen "127.0.0.1:$https_port" --route loopback >"$chroot/server.log" 2>&1 &
  server=$!
}

server_answers() {
  until_true 10 ask "$url/health" || { cat "$chroot/server.log"; return 1; }
}

stops_in_order() {
  if ! kill -TERM "$server" || ! wait "$server"; then
    cat "$chroot/server.log"
    return 1
  fi
}

is_trusted_with_its_authority() {
  curl --silent --show-error --fail "$url/ca.pem" >"$chroot/tmp/ca.pem" &&
    ask --cacert "$chroot/tmp/ca.pem" "https://localhost:$https_port/fax" &&
    ! ask "https://localhost:$https_port/fax"
}

one_fax_is_delivered() {
  echo 'A page of plain text.' >"$chroot/tmp/letter.txt"
  answer=$(ask -F to=+15551234567 -F "file=@$chroot/tmp/letter.txt" "$url/fax") && echo "$answer" &&
    fax=$(echo "$answer" | sed -n 's/^{"id": *"\([^"]*\)".*/\1/p') && echo "$fax" >"$chroot/tmp/fax" &&
    until_true 20 fax_has_succeeded && [ "$(ask "$url/inbound" | grep -c '"id"')" -ge 1 ]
}

fax_has_succeeded() {
  ask "$url/fax/$(cat "$chroot/tmp/fax")?wait=10" | grep '"status": *"SUCCESS"'
}

# Nobody but the service may read a fax, and no fax is readable as it lies there.
documents_are_private() {
  others=$(find "$chroot/var/lib/pagewire" -perm /077 ! -type l) && echo "$others" && [ -z "$others" ] &&
    [ "$(find "$chroot/var/lib/pagewire/spool" -type f | wc -l)" -ge 1 ] &&
    ! grep -r -a -l 'plain text' "$chroot/var/lib/pagewire"
}

a_changed_setting_survives_reinstalling() {
  echo '# kept' >>"$chroot/etc/pagewire/pagewire.toml" && install_package &&
    grep '^# kept$' "$chroot/etc/pagewire/pagewire.toml"
}

removing_keeps_faxes_and_settings() {
  in_chroot dpkg --remove pagewire && [ ! -e "$chroot/usr/bin/pagewire" ] &&
    [ -e "$chroot/var/lib/pagewire/pagewire.db" ] && [ -e "$chroot/etc/pagewire/pagewire.toml" ]
}

purging_unasked_keeps_faxes() {
  in_chroot dpkg --purge pagewire && [ -e "$chroot/var/lib/pagewire/pagewire.db" ] && [ ! -e "$chroot/etc/pagewire" ]
}

purging_as_told_deletes_faxes() {
  install_package && echo 'pagewire pagewire/delete-data boolean true' | in_chroot debconf-set-selections &&
    in_chroot dpkg --purge pagewire && [ ! -e "$chroot/var/lib/pagewire" ] && [ ! -e "$chroot/etc/pagewire" ]
}

nothing_is_left() {
  left=$(find "$chroot/etc" "$chroot/usr" "$chroot/var/lib" -path "$chroot/usr/share/doc/*" -prune -o -name '*pagewire*' -print) &&
    echo "$left" && [ -z "$left" ]
}

new_chroot bookworm ca-certificates
mount -t proc proc "$chroot/proc"

check 'lintian finds nothing unexplained' lintian_is_silent
check 'the same commit makes the same package' is_reproducible "$1"
check 'every line of the settings file is good' every_line_of_settings_is_good "$1"
check 'the manual pages have no mistakes' manual_is_readable
check 'systemd takes the unit' unit_is_valid
check "the unit's exposure is at most $highest_exposure" unit_is_hardened
check 'installs' install_package
check 'has an account and a private folder' account_and_folder_are_there
start_server
check 'serves as the system user' server_answers
check 'serves HTTPS that curl trusts with its authority' is_trusted_with_its_authority
check 'delivers a fax into the inbox' one_fax_is_delivered
check 'keeps documents private and sealed' documents_are_private
check 'stops in order' stops_in_order
check 'keeps a changed setting when reinstalled' a_changed_setting_survives_reinstalling
start_server
check 'serves again after reinstalling' server_answers
check 'still knows the fax' fax_has_succeeded
check 'stops in order again' stops_in_order
check 'keeps faxes and settings when removed' removing_keeps_faxes_and_settings
check 'keeps faxes when purged without an answer' purging_unasked_keeps_faxes
check 'deletes faxes when purged with that answer' purging_as_told_deletes_faxes
check 'leaves nothing behind' nothing_is_left
all_passed
