#!/bin/sh
# What boot.sh runs inside the booted machine, as root.
set -eu
. "$(dirname -- "$0")/lib.sh"

url=http://127.0.0.1:8080
data=/var/lib/pagewire

property() { systemctl show --property="$1" --value pagewire.service; }

# signal NAME: only to a service that runs; process 0 would be this script and all beside it.
signal() { main=$(property MainPID) && [ "$main" -gt 1 ] && kill -"$1" "$main"; }

ask() { curl --silent --show-error --fail --max-time 30 -H "X-API-Key: $(cat /root/key)" "$@"; }

# explained COMMAND…: with the journal, if it fails.
explained() {
  "$@" || { journalctl --no-pager --unit=pagewire.service | tail -n 30; return 1; }
}

is_ready() { systemctl is-active pagewire.service && curl --silent --fail "$url/health/ready"; }

reports_to_the_journal() { journalctl --no-pager --unit=pagewire.service | grep 'listens on'; }

makes_a_key_for_root() { pagewire keys create boot >/root/key && grep '^fbk_live_' /root/key; }

delivers() {
  echo 'A page of plain text.' >/root/letter.txt &&
    answer=$(ask -F to=+15551234567 -F file=@/root/letter.txt "$url/fax") && echo "$answer" &&
    echo "$answer" | sed -n 's/^{"id": *"\([^"]*\)".*/\1/p' >/root/fax && until_true 20 has_succeeded
}

has_succeeded() { ask "$url/fax/$(cat /root/fax)?wait=5" | grep '"status": *"SUCCESS"'; }

# On port $1, by the name the machine has.
serves_https_on() {
  curl --silent --fail "$url/ca.pem" >/root/ca.pem &&
    curl --silent --show-error --fail --cacert /root/ca.pem --resolve "$(uname -n):$1:127.0.0.1" \
      "https://$(uname -n):$1/console/" >/dev/null
}

reloads() {
  before=$(property MainPID) && systemctl reload pagewire.service && is_ready && [ "$(property MainPID)" = "$before" ]
}

# has_restarted_since COUNT
has_restarted_since() { [ "$(property NRestarts)" -gt "$1" ] && is_ready; }

comes_back_after_a_crash() {
  before=$(property NRestarts) && signal KILL &&
    until_true 20 has_restarted_since "$before" && has_succeeded
}

# With a short watchdog: left alone it must stay up, and stopped in its tracks it must be replaced.
obeys_the_watchdog() {
  mkdir -p /run/systemd/system/pagewire.service.d &&
    printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/pagewire.service.d/watchdog.conf &&
    systemctl daemon-reload && systemctl restart pagewire.service &&
    before=$(property NRestarts) && sleep 5 && [ "$(property NRestarts)" = "$before" ] &&
    signal STOP && until_true 30 has_restarted_since "$before"
}

is_replaced_by_reinstalling() {
  before=$(property MainPID) && dpkg --install /root/pagewire.deb && until_true 10 is_ready &&
    [ "$(property MainPID)" != "$before" ] && has_succeeded
}

stops_in_order() { systemctl stop pagewire.service && [ "$(property Result)" = success ]; }

keeps_its_sealing_key_in_the_data_folder() { [ -e "$data/keys/kek" ]; }

takes_its_sealing_key_from_the_credential() {
  rm -r "${data:?}"/* && install -d -m 700 /etc/credstore && head -c 32 /dev/urandom >/etc/credstore/pagewire.kek &&
    systemctl start pagewire.service && is_ready && [ ! -e "$data/keys/kek" ]
}

serves_ports_80_and_443_by_socket_activation() {
  cp /usr/share/doc/pagewire/examples/pagewire.socket /etc/systemd/system/ && systemctl daemon-reload &&
    systemctl stop pagewire.service && systemctl enable --now pagewire.socket && systemctl start pagewire.service &&
    until_true 10 curl --silent --fail http://127.0.0.1:80/health && url=http://127.0.0.1 && serves_https_on 443
}

is_stopped_by_removal() {
  systemctl disable --now pagewire.socket && dpkg --remove pagewire && ! systemctl is-active pagewire.service
}

check 'is ready once it has booted' explained is_ready
check 'reports to the journal' explained reports_to_the_journal
check 'makes a key for root over the admin socket' explained makes_a_key_for_root
check 'delivers a fax under all restrictions' explained delivers
check 'serves HTTPS under its own name' explained serves_https_on 8443
check 'reloads without a restart' explained reloads
check 'keeps its sealing key in the data folder' keeps_its_sealing_key_in_the_data_folder
check 'comes back after a crash and knows the fax' explained comes_back_after_a_crash
check 'is replaced by reinstalling and knows the fax' explained is_replaced_by_reinstalling
check 'obeys the watchdog' explained obeys_the_watchdog
check 'stops in order' explained stops_in_order
check 'takes its sealing key from the credential' explained takes_its_sealing_key_from_the_credential
check 'serves ports 80 and 443 by socket activation' explained serves_ports_80_and_443_by_socket_activation
check 'is stopped by removal' explained is_stopped_by_removal
echo end
