#!/bin/sh
# A container engine of our own, for a machine on which none runs: Debian's, in a network namespace without a route out
# and in namespaces of its own for processes and mounts, so that ending one process ends all of it. Its images are kept in
# the user's cache folder.
#
# Usage: engine.sh up|down
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=e2e/kind/settings.sh
. "$root/e2e/kind/settings.sh"

pid=$state/engine.pid
log=$state/engine.log

running() {
  [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null
}

up() {
  if running && inside docker version >/dev/null 2>&1; then
    return 0
  fi
  [ "$(id -u)" = 0 ] || fail "no container engine runs here, and only root can start one; start Docker, or run this as root"
  for command in ip nsenter unshare jq; do
    command -v $command >/dev/null || fail "needs $command; install Debian's iproute2, util-linux and jq"
  done
  down
  "$root/e2e/fetch-debian.sh" "$debian" docker.io containerd runc iptables
  mkdir -p "$state/docker" "$state/bin" "$cache/$cluster"
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf "$debian/usr/sbin/xtables-nft-multi" "$state/bin/$name"
  done
  cat >"$state/daemon.json" <<EOF
{
  "data-root": "$cache/$cluster", "exec-root": "$state/exec", "hosts": ["unix://$state/docker.sock"], "group": "root",
  "bip": "$bridge", "default-address-pools": [{"base": "$pool", "size": 24}], "dns": ["127.0.0.1"],
  "storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": "/$cluster",
  "runtimes": {"bounded": {"path": "$root/e2e/kind/runc.sh"}}, "default-runtime": "bounded",
  "oom-score-adjust": 0, "pidfile": "$state/dockerd.pid"
}
EOF
  ip netns add "$namespace"
  ip -n "$namespace" link set lo up
  # The shell takes in what its children leave behind, which dockerd as the first process would not.
  # shellcheck disable=SC2016 # expanded inside
  nsenter --net="/run/netns/$namespace" \
    setsid unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    env PATH="$state/bin:$debian/usr/sbin:$debian/usr/bin:$PATH" LD_LIBRARY_PATH="$(cat "$debian/libraries")" \
    XTABLES_LIBDIR="$debian/usr/lib/$(uname -m)-linux-gnu/xtables" RUNC="$debian/usr/sbin/runc" \
    bash -c 'dockerd --config-file "$1" & wait' - "$state/daemon.json" >"$log" 2>&1 </dev/null &
  echo $! >"$pid"
  for _ in $(seq 150); do
    if inside docker version >/dev/null 2>&1; then
      return 0
    fi
    running || break
    sleep 0.2
  done
  tail -20 "$log" >&2
  down
  fail "the container engine does not start; its log is above"
}

down() {
  if running; then
    kill -9 "$(cat "$pid")"
    while running; do sleep 0.1; done
  fi
  if [ -e "/run/netns/$namespace" ]; then
    ip netns del "$namespace"
  fi
  for _ in $(seq 50); do
    [ -z "$(find /sys/fs/cgroup -maxdepth 3 -type d -name "$cluster" 2>/dev/null)" ] && break
    find /sys/fs/cgroup -depth -type d -path "*/$cluster*" -exec rmdir {} + 2>/dev/null || sleep 0.1
  done
  rm -rf "$state/exec" "$state/docker.sock" "$pid" "$state/dockerd.pid"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail "usage: engine.sh up|down" ;;
esac
