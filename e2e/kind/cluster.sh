#!/bin/sh
# A Kubernetes cluster of one node with Istio and an image registry, by kind, for the tests of e2e/tests/cluster. In the
# container engine that runs here; where none runs, in one of its own that has no way out of this machine.
#
# Usage: cluster.sh up [--images=pull|build]   built here, unless the engine is the machine's own and can pull
#        cluster.sh down                       removes all of it; what was built stays in the cache folder
#        cluster.sh status
#        cluster.sh registry up|down           the image registry alone
#        cluster.sh run COMMAND…               where the cluster can be reached, with KUBECONFIG set
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=e2e/kind/settings.sh
. "$root/e2e/kind/settings.sh"

here=$root/e2e/kind
begun=$(date +%s)

step() {
  say "$(($(date +%s) - begun)) s: $1"
}

kubectl() {
  inside "$tools/kubectl" "$@"
}

kind() {
  inside "$tools/kind" "$@"
}

own_engine() {
  [ -e "/run/netns/$namespace" ]
}

there() {
  own_engine || docker info >/dev/null 2>&1 || return 1
  kind get clusters 2>/dev/null | grep -qx "$cluster"
}

# Where the images come from, if nobody says: a registry is asked only through an engine that could ask it.
images_from() {
  if ! own_engine && timeout 60 docker pull --quiet "kindest/node:$kubernetes" >/dev/null 2>&1; then
    echo pull
  else
    echo build
  fi
}

start_registry() {
  [ ! -s "$state/registry.pid" ] || ! kill -0 "$(cat "$state/registry.pid")" 2>/dev/null || return 0
  "$root/e2e/fetch-debian.sh"
  if [ ! -e "$state/registry.crt" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=registry -addext "subjectAltName=IP:$gateway" \
      -addext basicConstraints=critical,CA:FALSE \
      -keyout "$state/registry.key" -out "$state/registry.crt" 2>/dev/null
  fi
  cat >"$state/registry.yml" <<EOF
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $state/registry}, delete: {enabled: true}}
http: {addr: "$registry", tls: {certificate: $state/registry.crt, key: $state/registry.key}}
EOF
  # In a shell of its own, which lets go of whoever reads the output of this one.
  # shellcheck disable=SC2016 # expanded inside
  (
    exec >"$state/registry.log" 2>&1 </dev/null
    inside env LD_LIBRARY_PATH="$(cat "$root/target/debian/libraries")" setsid \
      sh -c 'echo $$ >"$1/registry.pid" && exec "$2" serve "$1/registry.yml"' - "$state" \
      "$root/target/debian/usr/bin/docker-registry"
  ) &
  for _ in $(seq 100); do
    ! inside curl --silent --insecure "https://$registry/v2/" >/dev/null || return 0
    sleep 0.1
  done
  cat "$state/registry.log" >&2
  fail "the registry does not start"
}

stop_registry() {
  if [ -s "$state/registry.pid" ]; then
    kill "$(cat "$state/registry.pid")" 2>/dev/null || true
  fi
  rm -f "$state/registry.pid"
}

up() {
  images=
  case ${1:-} in
    --images=pull | --images=build) images=${1#--images=} ;;
    '') ;;
    *) fail "usage: cluster.sh up [--images=pull|build]" ;;
  esac
  mkdir -p "$state"
  "$root/e2e/fetch-go-tools.sh" "$tools" kubernetes kind kind-files.tar etcd coredns pilot-discovery pilot-agent istioctl \
    otelcol otelmesh-app envoy_bootstrap.json operator-crds.yaml gateway-crds.yaml operator prometheus prometheus-config-reloader k6 metrics-server
  if ! docker info >/dev/null 2>&1; then
    "$here/engine.sh" up
    step "a container engine runs, in the network namespace $namespace"
  fi
  images=${images:-$(images_from)}
  case $images in
    build)
      say "building the images here"
      "$here/images.sh" base pause etcd coredns kubernetes pilot proxyv2 otelcol app prometheus k6 metrics-server node
      node=$(cat "$state/node")
      ;;
    pull)
      say "pulling the images of Kubernetes"
      node=kindest/node:$kubernetes
      "$here/images.sh" base pilot proxyv2 otelcol app prometheus k6 metrics-server tags
      ;;
  esac
  step "the images are there"
  if there; then
    say "the cluster is there"
  else
    inside docker network inspect "$cluster" >/dev/null 2>&1 ||
      inside docker network create --subnet "$gateway/24" --gateway $gateway \
        --opt com.docker.network.bridge.enable_ip_masquerade=true "$cluster" >/dev/null
    kind create cluster --quiet --name "$cluster" --image "$node" --kubeconfig "$kubeconfig" --config "$here/cluster.yaml" \
      --wait 90s --retain || {
      inside docker exec "$cluster-control-plane" journalctl --no-pager -n 40 -u kubelet >&2 || true
      fail "the cluster does not start; above is the end of its kubelet's log"
    }
    if [ "$images" = pull ]; then
      # shellcheck disable=SC2086 # a list of names
      kind load docker-image --name "$cluster" otelmesh/pilot otelmesh/proxyv2 $tagged
    fi
    step "Kubernetes $kubernetes is ready"
  fi
  start_registry
  inside "$tools/istioctl" manifest generate -f "$here/istio.yaml" >"$state/istio.yaml"
  kubectl create namespace istio-system --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null
  kubectl apply --server-side -f "$tools/gateway-crds.yaml" >/dev/null
  # The second time finds the kinds that the first has brought.
  kubectl apply --server-side --force-conflicts -f "$state/istio.yaml" >"$state/istio.log" 2>&1 ||
    { sleep 2 && kubectl apply --server-side --force-conflicts -f "$state/istio.yaml" >"$state/istio.log" 2>&1; } ||
    { cat "$state/istio.log" >&2 && fail "Istio's objects could not be applied"; }
  kubectl apply --server-side --force-conflicts -f "$here/stock-envoy.yaml" >/dev/null
  for deployment in istiod istio-ingressgateway; do
    kubectl -n istio-system rollout status "deployment/$deployment" --timeout=120s >/dev/null ||
      { kubectl -n istio-system describe pods >&2 && fail "$deployment does not become ready"; }
  done
  step "Istio is ready"
}

down() {
  stop_registry
  if there; then
    kind delete cluster --quiet --name "$cluster"
    inside docker network rm "$cluster" >/dev/null 2>&1 || true
  fi
  if own_engine; then
    "$here/engine.sh" down
  fi
  rm -rf "$state"
  say "all of it is gone"
}

status() {
  if there; then
    kubectl get nodes -o wide
    kubectl get pods --all-namespaces
  else
    say "no cluster runs; make kind-up starts one"
    exit 1
  fi
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up) up "$@" ;;
  down) down ;;
  status) status ;;
  registry)
    case ${1:-} in
      up) start_registry ;;
      down) stop_registry ;;
      *) fail "usage: cluster.sh registry up|down" ;;
    esac
    ;;
  run) inside "$@" ;;
  *) fail "usage: cluster.sh up|down|status|registry|run" ;;
esac
