#!/bin/sh
# Puts cargo-fuzz into target/cargo-fuzz. Built once, kept under the user's cache. It needs a C++ compiler for libFuzzer, and
# no nightly Rust, since no sanitizer is used: the filter has unsafe code at the border to Envoy alone.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
version=0.13.2
kept=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/cargo-fuzz-$version

command -v c++ >/dev/null || {
  echo "fetch-cargo-fuzz: no c++ command; install g++ or clang, then run make fuzz again" >&2
  exit 1
}
if [ ! -x "$kept/bin/cargo-fuzz" ]; then
  echo "fetch-cargo-fuzz: building cargo-fuzz $version (once; kept as $kept)" >&2
  cargo install --quiet --debug --root "$kept.$$" --target-dir "$root/target/cargo-fuzz-build" --locked \
    --version "$version" cargo-fuzz || {
    rm -rf "$kept.$$"
    echo "fetch-cargo-fuzz: could not build cargo-fuzz; is the crate registry within reach?" >&2
    exit 1
  }
  mv "$kept.$$" "$kept"
  rm -rf "$root/target/cargo-fuzz-build"
fi
mkdir -p "$root/target/cargo-fuzz"
ln -sf "$kept/bin/cargo-fuzz" "$root/target/cargo-fuzz/cargo-fuzz"
