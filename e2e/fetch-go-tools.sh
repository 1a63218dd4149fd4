#!/bin/sh
# Puts what the tests need from the Go world into target/tools: the real helm, kube-apiserver, kubectl and etcd, built from
# the go.mod files under e2e/tools, and the CRDs of Istio and the Prometheus operator, taken out of their own modules. What
# was built once is kept under the user's cache, by the content of what it was built from, so that a clean checkout does
# not build again. Refuses nothing but a missing Go and a failed download.
set -eu

prometheus=github.com/prometheus-operator/prometheus-operator@v0.93.0
kubernetes=v1.34.4
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

# build DIR PACKAGE LDFLAGS FILE
build() {
  (cd "$root/e2e/tools/$1" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w $3" -o "$4" "$2")
}

build_helm() {
  build . helm.sh/helm/v4/cmd/helm "" "$1"
}

build_etcd() {
  build etcd go.etcd.io/etcd/server/v3 "" "$1"
}

# build_kubernetes COMMAND FILE: without a version, clients refuse to compare theirs with the server's.
build_kubernetes() {
  version=k8s.io/component-base/version
  flags="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=34 -X $version.gitTreeState=clean"
  build kubernetes "k8s.io/kubernetes/cmd/$1" "$flags" "$2"
}

# The folder of a module that was downloaded.
module() {
  (cd / && GOFLAGS=-mod=mod go mod download -json "$1") | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p'
}

take_istio_crds() {
  dir=$(module "$istio")
  [ -n "$dir" ] && cp "$dir/manifests/charts/base/files/crd-all.gen.yaml" "$1" && chmod 644 "$1"
}

take_prometheus_crds() {
  dir=$(module "$prometheus")/example/prometheus-operator-crd
  for kind in servicemonitors podmonitors prometheusrules; do
    echo --- && cat "$dir/monitoring.coreos.com_$kind.yaml" || return 1
  done >"$1"
}

key() {
  sha256sum | cut -c1-16
}

# sources DIR: what decides on a build.
sources() {
  go version && cat "$root/e2e/tools/$1/go.mod" "$root/e2e/tools/$1/go.sum"
}

fetch helm "$(sources . | key)" build_helm
fetch etcd "$(sources etcd | key)" build_etcd
for command in kube-apiserver kubectl; do
  fetch "$command" "$( (echo "$kubernetes" && sources kubernetes) | key)" build_kubernetes "$command"
done
fetch istio-crds.yaml "$(echo "$istio" | key)" take_istio_crds
fetch prometheus-crds.yaml "$(echo "$prometheus" | key)" take_prometheus_crds
