# scene.sh install|after: what is true of the package on a machine with systemd, run by the box's own systemd. Each 'ok' is a sentence of
# docs/OPERATIONS.md; the first line that does not hold ends it.
set -Eeuo pipefail
trap 'echo "failed at line $LINENO: $BASH_COMMAND"' ERR
export DEBIAN_FRONTEND=noninteractive
unset ROSTER_CONFIG
url=http://127.0.0.1:8080

ok() {
  echo "ok: $*"
}

# fails COMMAND…: that it does not succeed.
fails() {
  if "$@" >/dev/null 2>&1; then
    echo "this was to fail: $*"
    return 1
  fi
}

is() {
  [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }
}

of_unit() {
  systemctl show --value --property "$1" roster.service
}

# The service as soon as it answers; curl waits for it.
answers() {
  is "$(curl --silent --fail --retry 30 --retry-all-errors --retry-delay 1 "$url/readyz")" ready
}

# Waits until a process is gone.
gone() {
  tail --pid "$1" --sleep-interval 0.1 -f /dev/null
}

# Waits for a file that another process is to make; the scene as a whole has a limit.
appears() {
  until [ -e "$1" ]; do sleep 0.1; done
}

# A command in the service's own view of the machine, as its user.
in_service() {
  nsenter --target "$(of_unit MainPID)" --mount setpriv --reuid roster --regid roster --clear-groups "$@"
}

# That there not even root could write.
is_closed() {
  local said
  said=$(nsenter --target "$(of_unit MainPID)" --mount touch "$1" 2>&1) && return 1
  [[ $said == *'Read-only file system'* ]] || { echo "$said"; return 1; }
}

member() {
  sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

# As somebody on the machine who is not the service.
as_client() {
  local words
  mapfile -t words </root/client.env
  setpriv --reuid nobody --regid nogroup --clear-groups env ROSTER_URL=$url "${words[@]}" "$@"
}

contacts() {
  as_client roster export 2>/dev/null | wc -l
}

install_stage() {
  dpkg --install /box/first.deb
  is "$(dpkg-query --show --showformat '${db:Status-Status}' roster)" installed
  is "$(getent passwd roster | cut -d: -f6,7)" /var/lib/roster:/usr/sbin/nologin
  is "$(stat -c '%A %U %G' /etc/roster/master.key)" '-r-------- roster roster'
  is "$(stat -c '%A %U %G' /etc/roster/roster.toml)" '-rw-r----- root roster'
  is "$(stat -c '%A %U %G' /var/lib/roster)" 'drwx------ roster roster'
  grep -qxE '[0-9a-f]{64}' /etc/roster/master.key
  ok 'it installs, with a user, a state directory and a master key of its own, which nobody else can read'

  is "$(systemctl is-enabled roster)" enabled
  is "$(systemctl is-active roster)" active
  is "$(of_unit StatusText)" "listening on $url"
  answers
  ok 'it has started, and said itself that it is ready'

  local pid
  pid=$(of_unit MainPID)
  is "$(stat -c %U "/proc/$pid")" roster
  for line in 'CapEff:	0000000000000000' 'CapBnd:	0000000000000000' 'NoNewPrivs:	1' 'Seccomp:	2'; do
    grep -qxF "$line" "/proc/$pid/status"
  done
  grep -qE '^Max core file size +0 +0 ' "/proc/$pid/limits"
  # As many as asked for, or as the machine lets the box have.
  local files
  files=$(prlimit --pid 1 --noheadings --output HARD --nofile)
  [ "$files" -lt 65536 ] || files=65536
  grep -qE "^Max open files +$files +$files " "/proc/$pid/limits"
  in_service touch /var/lib/roster/written
  in_service rm /var/lib/roster/written
  for place in /etc/x /etc/roster/master.key /etc/roster/roster.toml /usr/x /var/lib/x /var/log/x /home/x /root/x /box/x; do
    is_closed "$place"
  done
  fails in_service ls /proc/1
  in_service touch /tmp/mine
  fails test -e /tmp/mine
  ok 'it runs as its own user, without capabilities, and can write its state directory only'

  roster-admin account create 'Example College' --json >/root/account
  roster-admin program create Fall --account "$(member id </root/account)" --json >/root/program
  roster-admin token create --account "$(member id </root/account)" --name scene --json >/root/token
  is "$(find /var/lib/roster ! -user roster)" ''
  printf 'ROSTER_TOKEN=%s\nROSTER_SECRET=%s\nROSTER_PROGRAM=%s\n' "$(member token </root/token)" \
    "$(member secret </root/token)" "$(member id </root/program)" >/root/client.env
  fails setpriv --reuid nobody --regid nogroup --clear-groups roster-admin account list
  fails setpriv --reuid nobody --regid nogroup --clear-groups cat /etc/roster/master.key
  setpriv --reuid roster --regid roster --clear-groups roster-admin account list >/root/accounts
  grep -q 'Example College' /root/accounts
  ok "an operator's commands work beside it, for root and the service's user, and for nobody else"

  {
    echo 'customer_id,phone,first_name'
    for number in $(seq 1000 1999); do echo "c$number,(212) 555-$number,Zoë"; done
  } | sed 's/ 555-/ 736-/' >/tmp/contacts.csv
  as_client roster import - --json </tmp/contacts.csv >/root/report
  grep -q '"read":1000,"added":1000,' /root/report
  is "$(contacts)" 1001
  # A file of the size that is kept outside of the catalogue.
  { cat /tmp/contacts.csv; for number in $(seq 10000 19999); do echo "d$number,917736${number: -4},Ann"; done; } >/tmp/large.csv
  as_client roster import - --json </tmp/large.csv >/root/report
  grep -q '"read":11000,"added":10000,"updated":0,"unchanged":1000,' /root/report
  is "$(contacts)" 11001
  ok 'it takes imports under all its restrictions'

  kill -KILL "$pid"
  gone "$pid"
  answers
  is "$(of_unit NRestarts)" 1
  is "$(contacts)" 11001
  ok 'killed, it is started again, and nothing is lost'

  mkdir /etc/systemd/system/roster.service.d
  printf '[Service]\nWatchdogSec=2s\nTimeoutAbortSec=1s\n' >/etc/systemd/system/roster.service.d/hang.conf
  systemctl daemon-reload
  systemctl restart roster
  pid=$(of_unit MainPID)
  kill -STOP "$pid"
  gone "$pid"
  answers
  [ "$(of_unit MainPID)" != "$pid" ]
  is "$(of_unit NRestarts)" 1
  rm -r /etc/systemd/system/roster.service.d
  systemctl daemon-reload
  systemctl restart roster
  answers
  ok 'hanging, it is missed by the watchdog and started again'

  install -d /etc/roster/watch
  (umask 077 && { cat /root/client.env; echo ROSTER_URL=$url; echo ROSTER_SETTLE=0; echo ROSTER_EVERY=100ms; } >/etc/roster/watch/night.env)
  systemctl enable --now roster-watch@night
  appears /var/lib/roster-watch/night/done
  is "$(stat -c '%A %U %G' /var/lib/roster-watch/night)" 'drwxrws--- roster-watch roster-watch'
  drop one 'customer_id,phone\nw1,2127360001\n'
  appears /var/lib/roster-watch/night/done/one.report.json
  is "$(contacts)" 11002
  # Who brought it may read the report; nobody else may look in.
  as_sender cat /var/lib/roster-watch/night/done/one.report.json | grep -q '"added":1'
  fails setpriv --reuid nobody --regid nogroup --clear-groups ls /var/lib/roster-watch/night
  pid=$(systemctl show --value --property MainPID roster-watch@night)
  is "$(stat -c %U "/proc/$pid")" roster-watch
  local in_watcher=(nsenter --target "$pid" --mount setpriv --reuid roster-watch --regid roster-watch --clear-groups)
  fails "${in_watcher[@]}" ls /var/lib/roster
  fails "${in_watcher[@]}" cat /etc/roster/watch/night.env
  ok 'a drop folder is a unit too, as a user who cannot reach the data'
}

# Somebody who is in the group of those that bring files.
as_sender() {
  setpriv --reuid games --regid games --groups "$(id -g roster-watch)" "$@"
}

# drop NAME TEXT: brings a file under another name, and renames it.
drop() {
  as_sender bash -c 'cd /var/lib/roster-watch/night && printf "$2" >".$1" && mv ".$1" "$1.csv"' drop "$1" "$2"
}

after_stage() {
  is "$(systemctl is-active roster)" active
  is "$(of_unit NRestarts)" 0
  answers
  is "$(contacts)" 11002
  is "$(systemctl is-active roster-watch@night)" active
  ok 'after a reboot it is there, with all its data, and the drop folder with it'

  local before pid key
  key=$(sha256sum </etc/roster/master.key)
  pid=$(of_unit MainPID)
  echo '# changed by the operator' >>/etc/roster/roster.toml
  before=$(as_client roster export | sha256sum)
  dpkg --install /box/next.deb
  [ "$(of_unit MainPID)" != "$pid" ]
  is "$(of_unit Result):$(of_unit NRestarts)" success:0
  journalctl --no-pager --unit roster _PID="$pid" >/root/journal
  grep -q ' stopped$' /root/journal
  answers
  is "$(as_client roster export | sha256sum)" "$before"
  is "$(sha256sum </etc/roster/master.key)" "$key"
  grep -q 'stopping drain_seconds=30' /root/journal
  tail -n 1 /etc/roster/roster.toml | grep -qx '# changed by the operator'
  is "$(stat -c '%A %U %G' /etc/roster/roster.toml)" '-rw-r----- root roster'
  ok 'an upgrade stops it in order and starts the new one, with data, key and changed settings as they were'

  dpkg --install /box/first.deb
  answers
  is "$(as_client roster export | sha256sum)" "$before"
  ok 'the version before can be put back'

  cp /etc/roster/roster.toml /root/roster.toml
  sed -i 's/^listen = .*/listen = "nowhere"/' /etc/roster/roster.toml
  fails systemctl restart roster
  is "$(systemctl is-failed roster):$(of_unit ExecMainStatus):$(of_unit NRestarts)" failed:2:0
  cat /root/roster.toml >/etc/roster/roster.toml
  systemctl restart roster
  answers
  ok 'with settings that make no sense it does not start, and is not tried for ever'

  install -d -o roster -g roster -m 0700 /var/backups/roster
  roster-admin backup /var/backups/roster/today
  is "$(find /var/backups/roster ! -user roster)" ''
  fails test -e /var/backups/roster/today/master.key
  ok 'it is backed up while it serves'

  dpkg --remove roster >/root/said
  grep -q '/var/lib/roster (contacts) and /etc/roster (settings, master key) are left' /root/said
  fails systemctl is-active roster
  fails systemctl is-active roster-watch@night
  fails test -e /usr/bin/roster
  test -e /var/lib/roster/catalogue.db -a -e /etc/roster/master.key -a -e /etc/roster/roster.toml
  dpkg --install /box/next.deb
  answers
  is "$(systemctl is-enabled roster)" enabled
  is "$(as_client roster export | sha256sum)" "$before"
  ok 'removed, it leaves data, key and settings, and finds them when it is installed again'

  dpkg --purge roster >/root/said
  grep -q 'deleting /var/lib/roster (all contacts and imports) and /etc/roster (settings, master key)' /root/said
  grep -q '/var/lib/roster-watch (drop folders, with what was brought there) is left' /root/said
  test -e /var/lib/roster-watch/night/done/one.csv
  for place in /var/lib/roster /etc/roster /usr/bin/roster /usr/share/doc/roster /usr/lib/systemd/system/roster.service; do
    fails test -e "$place"
  done
  is "$(find /etc/systemd /var/lib/systemd -name 'roster*.service*')" ''
  getent passwd roster >/dev/null
  test -e /var/backups/roster/today/manifest.json
  ok 'purged, it says what it deletes, and leaves nothing but its users, the backups and the drop folders'
}

"$1_stage"
