#!/bin/sh
# Puts wasm-bindgen-test-runner, which runs the filter's tests as WebAssembly in Node.js, into target/wasm-runner. Its
# version is the one of wasm-bindgen in Cargo.lock: the two must be the same. Built once, kept under the user's cache.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$root/Cargo.lock")
kept=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/wasm-bindgen-cli-$version

command -v node >/dev/null || {
  echo "fetch-wasm-runner: no node command; install Node.js 20 or later, then run make test again" >&2
  exit 1
}
if [ ! -x "$kept/bin/wasm-bindgen-test-runner" ]; then
  echo "fetch-wasm-runner: building wasm-bindgen-cli $version (once; kept as $kept)" >&2
  # Without optimisation it builds in a third of the time, and it runs for seconds only.
  cargo install --quiet --debug --root "$kept.$$" --target-dir "$root/target/wasm-runner-build" \
    --bin wasm-bindgen-test-runner --version "$version" wasm-bindgen-cli || {
    rm -rf "$kept.$$"
    echo "fetch-wasm-runner: could not build wasm-bindgen-cli; is the crate registry within reach?" >&2
    exit 1
  }
  mv "$kept.$$" "$kept"
  rm -rf "$root/target/wasm-runner-build"
fi
mkdir -p "$root/target/wasm-runner"
ln -sf "$kept/bin/wasm-bindgen-test-runner" "$root/target/wasm-runner/wasm-bindgen-test-runner"
