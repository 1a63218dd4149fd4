#!/bin/sh
# Puts what the tests need from the Go world into target/tools: the real helm, kube-apiserver, kubectl, etcd, k6,
# istioctl, Prometheus with its operator, a metrics server, an OpenTelemetry Collector and its sampling arithmetic, each
# built from a module under e2e/tools, and the schemas of Istio, Kubernetes, the Gateway API and Prometheus' operator, taken
# out of their own modules. What was built once is kept under the user's cache, by the content of what it was built from, so
# that a clean checkout does not build again; the first time takes about half an hour on two cores. Names as further
# arguments build those only. Refuses nothing but a missing Go and a failed download.
set -eu

istio=istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad
kubernetes=k8s.io/kubernetes@v1.34.4
operator=github.com/prometheus-operator/prometheus-operator@v0.93.0
kind=sigs.k8s.io/kind@v0.33.0
# As Istio's own go.mod has it.
gateway_api=sigs.k8s.io/gateway-api@v1.6.0

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/target/tools}
[ $# -eq 0 ] || shift
wanted=$*
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/go-tools

command -v go >/dev/null || {
  echo "fetch-go-tools: no go command; install Go 1.26 or later, then run make e2e-api again" >&2
  exit 1
}
mkdir -p "$out" "$cache"

# fetch NAME KEY COMMAND…: the command writes the file that is its last argument; it is run when no file has that key.
fetch() {
  name=$1 kept=$cache/$1-$2
  case " ${wanted:-$name} " in *" $name "*) ;; *) return 0 ;; esac
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

# build DIRECTORY PACKAGE TAGS FILE
build() {
  (cd "$root/e2e/tools/$1" && CGO_ENABLED=0 go build -p "${GO_JOBS:-2}" -mod=readonly -trimpath -tags "$3" \
    -ldflags "-s -w ${ldflags:-}" -o "$4" "$2")
}

# directory MODULE: where its files are.
directory() {
  (cd / && GOFLAGS=-mod=mod go mod download -json "$1") | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p'
}

# take MODULE PATH FILE: files of a module, one after the other.
take() {
  dir=$(directory "$1")
  # shellcheck disable=SC2086 # a pattern
  [ -n "$dir" ] && (cd "$dir" && cat $2) >"$3"
}

# gather MODULE PATH FILE: YAML files of a module, as documents of one.
gather() {
  dir=$(directory "$1")
  # shellcheck disable=SC2086 # a pattern
  [ -n "$dir" ] && (cd "$dir" && for document in $2; do echo --- && cat "$document"; done) >"$3"
}

# pack MODULE DIRECTORY FILE: a directory of a module, as a tar archive.
pack() {
  dir=$(directory "$1")
  [ -n "$dir" ] && tar -C "$dir/$2" -cf "$3" .
}

key() {
  sha256sum | cut -c1-16
}

# What a program is built from, as a key.
sources() {
  (go version && cat "$root/e2e/tools/$1"/go.mod "$root/e2e/tools/$1"/go.sum) | key
}

fetch helm "$(sources .)" build . helm.sh/helm/v4/cmd/helm ""
fetch istio-crds.yaml "$(echo "$istio" | key)" take "$istio" manifests/charts/base/files/crd-all.gen.yaml
fetch kubernetes.json "$(echo "$kubernetes" | key)" take "$kubernetes" api/openapi-spec/swagger.json
fetch operator-crds.yaml "$(echo "$operator" | key)" take "$operator" "example/prometheus-operator-crd/*.yaml"
fetch gateway-crds.yaml "$(echo "$gateway_api" | key)" gather "$gateway_api" "config/crd/standard/gateway.networking*.yaml"
for command in promtool prometheus; do
  fetch $command "$(sources prometheus)" build prometheus github.com/prometheus/prometheus/cmd/$command \
    remove_all_sd,enable_kubernetes_sd
done
for command in operator prometheus-config-reloader; do
  fetch $command "$(sources operator)" build operator \
    github.com/prometheus-operator/prometheus-operator/cmd/$command ""
done
fetch metrics-server "$(sources metrics-server)" build metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server ""
fetch k6 "$(sources k6)" build k6 go.k6.io/k6 ""
# Istio's programs do not start without a version.
for command in istioctl/cmd/istioctl pilot/cmd/pilot-discovery pilot/cmd/pilot-agent; do
  ldflags="-X istio.io/istio/pkg/version.buildVersion=1.31-dev -X istio.io/istio/pkg/version.buildTag=1.31-dev" \
    fetch "${command##*/}" "$(sources istio)" build istio "istio.io/istio/$command" ""
done
fetch envoy_bootstrap.json "$(echo "$istio" | key)" take "$istio" tools/packaging/common/envoy_bootstrap.json
fetch otelcol "$( (sources otelcol && cat "$root"/e2e/tools/otelcol/*.go) | key)" build otelcol . ""
fetch sampling-oracle "$( (sources sampling && cat "$root"/e2e/tools/sampling/*.go) | key)" build sampling . ""
fetch etcd "$(sources etcd)" build etcd go.etcd.io/etcd/server/v3 ""
fetch otelmesh-app "$( (sources app && cat "$root"/e2e/tools/app/*.go) | key)" build app . ""
fetch coredns "$( (sources coredns && cat "$root"/e2e/tools/coredns/*.go) | key)" build coredns . ""
fetch kind "$(sources kind)" build kind sigs.k8s.io/kind ""
fetch kind-files.tar "$(echo "$kind" | key)" pack "$kind" images/base/files
# Without a version, clients refuse to compare theirs with the server's.
version=k8s.io/component-base/version
client=k8s.io/client-go/pkg/version
number="gitMajor=1 gitMinor=34 gitVersion=${kubernetes#*@} gitTreeState=clean gitCommit=0"
ldflags=$(for pair in $number; do echo "-X $version.$pair -X $client.$pair"; done | paste -sd' ') \
  fetch kubernetes "$( (sources kubernetes && cat "$root"/e2e/tools/kubernetes/*.go) | key)" build kubernetes . ""
if [ -e "$out/kubernetes" ]; then
  for name in kube-apiserver kubectl kubeadm kubelet; do
    ln -sf kubernetes "$out/$name"
  done
fi
