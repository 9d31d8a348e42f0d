#!/bin/bash
# box.sh DIRECTORY: boots systemd twice over a copy of this machine's files, and has it run DIRECTORY/scene.sh: 'install', then after
# the reboot 'after'. What the box writes is in memory and goes with it; the machine is left as it was. The box has process, mount,
# network and control-group namespaces of its own. Exit code 77: there can be no box here, and why.
set -euo pipefail
directory=$(realpath "$1")

cannot() {
  echo "no box can be made here: $*" >&2
  exit 77
}

if [ "${2:-}" = inner ]; then
  # In the namespaces: the machine's files, read through an overlay, as the root of a machine that boots.
  stage=$3 root=$directory/box/root
  mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/box/upper,workdir=$directory/box/work" "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
  mount -t devpts devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t mqueue mqueue "$root/dev/mqueue"
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s pts/ptmx "$root/dev/ptmx"
  ip link set lo up
  if [ "$stage" = install ]; then
    # Nothing of the machine's own starts in the box, and nothing keeps the package from starting.
    rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/rc?.d/S* "$root/usr/sbin/policy-rc.d"
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/box" "$root/outside"
    ln -s ../scene.service "$root/etc/systemd/system/multi-user.target.wants/scene.service"
  fi
  mount --bind "$directory" "$root/box"
  cat >"$root/etc/systemd/system/scene.service" <<UNIT
[Unit]
After=roster.service
[Service]
Type=oneshot
ExecStart=/bin/bash /box/scene.sh $stage
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >/box/$stage.code; journalctl --no-pager -u roster -u roster-watch@night >/box/$stage.journal; systemctl --no-block poweroff'
TimeoutStartSec=100s
StandardOutput=append:/box/$stage.log
StandardError=append:/box/$stage.log
UNIT
  cd "$root"
  pivot_root . outside
  umount -l /outside
  exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd systemd.unified_cgroup_hierarchy=1
fi

[ "$(id -u)" = 0 ] || cannot "only root can make one"
[ -x /lib/systemd/systemd ] || cannot "systemd is not installed"
hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$hierarchy" ] || cannot "there are no control groups of version 2"
group=$hierarchy/roster-box-$$
mkdir "$group" 2>/dev/null || cannot "the control groups cannot be changed"
mkdir -p "$directory/box"
leave() {
  umount "$directory/box" 2>/dev/null || true
  rmdir "$directory/box" 2>/dev/null || true
  # The box's processes are gone with its first one; its groups are empty.
  find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
}
trap leave EXIT
mount -t tmpfs -o size=2g tmpfs "$directory/box" 2>/dev/null || cannot "nothing can be mounted"
mkdir "$directory/box/upper" "$directory/box/work" "$directory/box/root"
unshare --mount --pid --fork --cgroup --ipc --uts --net true 2>/dev/null || cannot "there are no namespaces"
unshare --mount mount -t overlay overlay \
  -o "lowerdir=/,upperdir=$directory/box/upper,workdir=$directory/box/work" "$directory/box/root" 2>/dev/null ||
  cannot "there is no overlay file system"

for stage in install after; do
  rm -f "$directory/$stage".{log,code,journal}
  # A box whose systemd powers off ends by a signal; what counts is what the scene has said.
  bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec timeout --kill-after=5 120 "$@"' box "$group" \
    unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --net --propagation private \
    bash "$0" "$directory" inner "$stage" >"$directory/$stage.console" 2>&1 || true
  code=$(cat "$directory/$stage.code" 2>/dev/null || echo none)
  if [ "$code" != 0 ]; then
    tail -n 40 "$directory/$stage.console" "$directory/$stage.log" "$directory/$stage.journal" >&2 || true
    echo "the scene '$stage' in the box failed ($code)" >&2
    exit 1
  fi
done
grep -h '^ok: ' "$directory/install.log" "$directory/after.log"
