#!/bin/sh
# Puts Debian programs that the tests run into a directory, unpacked and not installed. Takes the machine's own Debian
# release as its package index knows it, with the shared libraries that the machine lacks. Runs once; run again it does
# nothing. Needs apt-get and dpkg, and says so where they are missing.
#
# Usage: fetch-debian.sh [DIRECTORY PACKAGE…]; without them target/debian, with a registry, a client of it that is not
# ours, and a checker of shell scripts
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/target/debian}
[ $# -eq 0 ] || shift
packages=${*:-docker-registry shellcheck skopeo}

fail() {
  echo "fetch-debian: $1" >&2
  exit 1
}

{ command -v apt-get && command -v dpkg; } >/dev/null ||
  fail "needs Debian's apt-get and dpkg; elsewhere put the programs of $packages into $out/usr/bin"

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
stamp="$release $packages"
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

rm -rf "$out"
mkdir -p "$out/archives"
out=$(cd "$out" && pwd)
cd "$out/archives"
# The index is the machine's own and may be newer than this script: refresh it only when it does not do.
download() {
  # shellcheck disable=SC2086 # a list of names
  apt-get -o APT::Sandbox::User=root download -q "$@"
}
# shellcheck disable=SC2086
download $packages 2>/dev/null || { apt-get update -q >/dev/null && download $packages; } ||
  fail "could not download $packages for Debian $release; is a Debian mirror within reach?"

unpack() {
  for archive in ./*.deb; do
    [ ! -e "$archive" ] || { dpkg -x "$archive" .. && rm "$archive"; }
  done
}
unpack

library_path() {
  find "$out/lib" "$out/usr/lib" -name '*.so*' -exec dirname {} \; 2>/dev/null | sort -u | paste -sd:
}
missing() {
  find "$out/usr/bin" "$out/usr/sbin" -type f -exec env LD_LIBRARY_PATH="$(library_path)" ldd {} \; 2>/dev/null |
    sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p' | sort -u
}

# A shared library that neither the machine nor the packages have is in a package that one of them depends on, or in one
# that such a package depends on: go down level by level, so that nothing is taken that is not needed.
level=$packages
while [ -n "$(missing)" ] && [ -n "$level" ]; do
  # shellcheck disable=SC2086
  level=$(apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances $level |
    sed -n 's/^ *Depends: \(lib[a-z0-9].*\)$/\1/p' | sort -u)
  for name in $level; do
    dpkg -s "$name" >/dev/null 2>&1 || download "$name" || fail "could not download $name"
  done
  unpack
done
[ -z "$(missing)" ] || fail "$packages lack $(missing | paste -sd' ')"

cd "$out"
rmdir archives
library_path >libraries
echo "$stamp" >stamp
