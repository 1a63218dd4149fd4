#!/bin/sh
# Puts what the tests need from the Go world into target/tools: the real helm, built from e2e/tools/go.mod, and Istio's
# CRDs, taken out of Istio's own module. What was built once is kept under the user's cache, by the content of what it
# was built from, so that a clean checkout does not build again. Refuses nothing but a missing Go and a failed download.
set -eu

istio=istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/target/tools}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/go-tools

command -v go >/dev/null || {
  echo "fetch-go-tools: no go command; install Go 1.26 or later, then run make e2e-api again" >&2
  exit 1
}
mkdir -p "$out" "$cache"

# fetch NAME KEY COMMAND…: the command writes the file that is its last argument; it is run when no file has that key.
fetch() {
  name=$1 kept=$cache/$1-$2
  shift 2
  if [ ! -e "$kept" ]; then
    echo "fetch-go-tools: making $name (once; kept as $kept)" >&2
    "$@" "$kept.$$" || {
      rm -f "$kept.$$"
      echo "fetch-go-tools: could not make $name; is the Go module proxy within reach?" >&2
      exit 1
    }
    mv "$kept.$$" "$kept"
  fi
  ln -sf "$kept" "$out/$name"
}

build_helm() {
  (cd "$root/e2e/tools" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$1" helm.sh/helm/v4/cmd/helm)
}

take_crds() {
  dir=$(cd / && GOFLAGS=-mod=mod go mod download -json "$istio" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
  [ -n "$dir" ] && cp "$dir/manifests/charts/base/files/crd-all.gen.yaml" "$1" && chmod 644 "$1"
}

key() {
  sha256sum | cut -c1-16
}

fetch helm "$( (go version && cat "$root/e2e/tools/go.mod" "$root/e2e/tools/go.sum") | key)" build_helm
fetch istio-crds.yaml "$(echo "$istio" | key)" take_crds
