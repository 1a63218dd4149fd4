#!/bin/sh
# Puts Binaryen's wasm-opt, which makes the module a tenth smaller than the compiler can, into target/wasm-opt. It comes
# out of the npm package binaryen and runs in Node.js; the package is checked against the hash below. Fetched once, kept
# under the user's cache. Refuses a package with another hash.
set -eu

version=132.0.0
hash=6543555fb29bb92548f325c7dc18e9ab7dbb1215edda25993d1e3f71d85b8618

root=$(cd "$(dirname "$0")/.." && pwd)
kept=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/binaryen-$version

fail() {
  echo "fetch-wasm-opt: $1" >&2
  exit 1
}

command -v npm >/dev/null || fail "no npm command; install Node.js 20 or later, then run make wasm again"
if [ ! -f "$kept/bin/wasm-opt" ]; then
  echo "fetch-wasm-opt: fetching binaryen $version (once; kept as $kept)" >&2
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent "binaryen@$version" >/dev/null) ||
    fail "could not fetch binaryen $version; is the npm registry within reach?"
  echo "$hash  $work/binaryen-$version.tgz" | sha256sum --check --quiet || fail "the package has another hash"
  tar -xzf "$work/binaryen-$version.tgz" -C "$work"
  mkdir -p "$(dirname "$kept")"
  # Moved into place whole, so that a run that is cut short leaves nothing that looks finished.
  mv "$work/package" "$kept.$$"
  mv -T "$kept.$$" "$kept" 2>/dev/null || rm -rf "$kept.$$"
fi
mkdir -p "$root/target"
ln -sfn "$kept/bin/wasm-opt" "$root/target/wasm-opt"
