# shellcheck shell=sh disable=SC2034,SC2154 # read by the scripts that source this one
# What the scripts of this folder share: names, versions, places. Sourced with $root set.

kubernetes=v1.34.4
envoy=1.40.0
# As kind's configuration of containerd has it.
pause=registry.k8s.io/pause:3.10
# Tags of images that tests name; other than latest, so that a kubelet does not ask a registry for them.
collector=0.161.0
# The same program under another version, for upgrades.
other_collector=0.160.0
app=1.0
prometheus=3.15.0
k6=1.8.1
metrics_server=0.8.0
tagged="otelmesh/otelcol:$collector otelmesh/otelcol:$other_collector otelmesh/app:$app otelmesh/prometheus:$prometheus otelmesh/k6:$k6 otelmesh/metrics-server:$metrics_server"
node_image=otelmesh/kind-node
# More than one can run, each from a checkout of its own.
cluster=${OTELMESH_KIND:-otelmesh}
# A network namespace without a route out. The engine, the node and whoever talks to them are in it, and nothing of them
# is left when it is gone.
namespace=$cluster
# Of the engine in there; the machine's own networks do not meet them.
bridge=172.31.255.1/24
pool=172.31.0.0/16
# Where the first network of that pool has its gateway: the registry and the receivers of tests listen there, and pods
# reach them.
gateway=172.31.0.1
registry=$gateway:5000

tools=$root/target/tools
debian=$root/target/debian-engine
state=$root/target/kind
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otelmesh/kind
kubeconfig=$state/kubeconfig

say() {
  printf 'kind: %s\n' "$1"
}

fail() {
  printf 'kind: %s\n' "$1" >&2
  exit 1
}

# Runs a command where the engine is.
inside() {
  if [ -e "/run/netns/$namespace" ]; then
    nsenter --net="/run/netns/$namespace" env DOCKER_HOST="unix://$state/docker.sock" DOCKER_CONFIG="$state/docker" \
      PATH="$debian/usr/bin:$PATH" KUBECONFIG="$kubeconfig" KIND_EXPERIMENTAL_DOCKER_NETWORK="$cluster" "$@"
  else
    env KUBECONFIG="$kubeconfig" KIND_EXPERIMENTAL_DOCKER_NETWORK="$cluster" "$@"
  fi
}
