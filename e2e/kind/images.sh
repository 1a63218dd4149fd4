#!/bin/sh
# Builds every image of the cluster, where none can be pulled: from Debian's packages, Go modules and Envoy's wheel. An
# image is built once for what it is made of, and kept by the engine.
#
# Usage: images.sh NAME…, of which there are: base pause etcd coredns kubernetes pilot proxyv2 otelcol app prometheus k6
#        metrics-server node, and tags, which names them as the tests do
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=e2e/kind/settings.sh
. "$root/e2e/kind/settings.sh"

here=$root/e2e/kind
contexts=$state/contexts

docker() {
  inside docker "$@"
}

# image NAME FILE…: builds otelmesh/NAME of its Dockerfile and these files, unless there is one of the same.
image() {
  name=$1
  shift
  recipe=$here/images/$name.Dockerfile
  base=
  if grep -q '^FROM otelmesh/base' "$recipe"; then
    base=$(docker image inspect --format '{{.Id}}' otelmesh/base)
  fi
  key=$( (echo "$base" && sha256sum "$recipe" "$@" | sed 's/ .*//') | sha256sum | cut -c1-16)
  if [ "$(docker image inspect --format '{{index .Config.Labels "key"}}' "otelmesh/$name" 2>/dev/null)" = "$key" ]; then
    return 0
  fi
  begun=$(date +%s)
  rm -rf "${contexts:?}/$name"
  mkdir -p "$contexts/$name"
  for file in "$@"; do
    # A link, where it can be one: the programs are large.
    ln -L "$file" "$contexts/$name/" 2>/dev/null || cp -L "$file" "$contexts/$name/"
  done
  docker build --quiet --network none --label "key=$key" --tag "otelmesh/$name" --file "$recipe" "$contexts/$name" \
    >"$state/build.log" 2>&1 || { cat "$state/build.log" >&2 && fail "could not build the image $name"; }
  rm -rf "${contexts:?}/$name"
  say "built the image $name in $(($(date +%s) - begun)) s"
}

# The machine's own file systems, by mmdebstrap. debian NAME VARIANT PACKAGES
debian() {
  key=$(echo "$@" | sha256sum | cut -c1-16)
  kept=$cache/$1-$key.tar
  if [ ! -e "$kept" ]; then
    say "unpacking Debian 12 for $1"
    "$root/e2e/fetch-debian.sh" "$root/target/debian-mmdebstrap" mmdebstrap
    perl "$root/target/debian-mmdebstrap/usr/bin/mmdebstrap" --quiet --variant="$2" --mode=root --components=main \
      --include="$3" bookworm "$kept.$$.tar" || fail "could not unpack Debian 12; is a Debian mirror within reach?"
    mv "$kept.$$.tar" "$kept"
  fi
  ln -sf "$kept" "$state/$1.tar"
}

# The images that kubeadm wants, by the names that it wants them by.
name_as_upstream() {
  "$tools/kubeadm" config images list --kubernetes-version $kubernetes 2>/dev/null >"$state/upstream"
  while read -r upstream; do
    case $upstream in
      */kube-*) docker tag otelmesh/kubernetes "$upstream" ;;
      */coredns:*) docker tag otelmesh/coredns "$upstream" ;;
      */etcd:*) docker tag otelmesh/etcd "$upstream" ;;
    esac
  done <"$state/upstream"
  docker tag otelmesh/pause "$pause"
  grep -v /pause: "$state/upstream" >"$state/upstream.rest"
  (cat "$state/upstream.rest" && echo "$pause") >"$state/upstream"
}

# Those that tests name, by the tags that they name.
tag_versions() {
  for image in $tagged; do
    docker tag "${image%:*}" "$image"
  done
}

# As `kind build node-image` does: what the node will run is in its image beforehand.
node() {
  debian node apt systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,pigz,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins,socat,ebtables,libnss-myhostname
  echo $kubernetes >"$state/version"
  image node "$state/node.tar" "$tools/kind-files.tar" "$tools/kubernetes" "$here/node/conflist" "$state/version" \
    "$here/node/default-cni.yaml"
  name_as_upstream
  tag_versions
  # shellcheck disable=SC2046,SC2086 # lists of names
  set -- $(cat "$state/upstream") otelmesh/pilot otelmesh/proxyv2 $tagged
  key=$(docker image inspect --format '{{.Id}}' otelmesh/node "$@" | sha256sum | cut -c1-16)
  if docker image inspect "$node_image:$key" >/dev/null 2>&1; then
    echo "$node_image:$key" >"$state/node"
    return 0
  fi
  say "putting $# images into the node's"
  begun=$(date +%s)
  docker rm -f otelmesh-node-build >/dev/null 2>&1 || true
  docker run --pull=never -d --name otelmesh-node-build --privileged --network none --entrypoint sleep otelmesh/node 600 >/dev/null
  docker exec otelmesh-node-build sh -c 'containerd >/dev/null 2>&1 & for i in $(seq 50); do ctr version >/dev/null 2>&1 && break; sleep 0.2; done'
  docker save "$@" | docker exec -i otelmesh-node-build ctr -n k8s.io images import --all-platforms --no-unpack --digests - >/dev/null
  docker exec otelmesh-node-build sh -c 'kill $(pidof containerd); while pidof containerd >/dev/null; do sleep 0.1; done'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' otelmesh-node-build "$node_image:$key" >/dev/null
  docker rm -f otelmesh-node-build >/dev/null
  echo "$node_image:$key" >"$state/node"
  say "put them there in $(($(date +%s) - begun)) s"
}

mkdir -p "$contexts"
for name in "$@"; do
  case $name in
    base)
      debian base extract libc6,busybox-static,iptables,ca-certificates,netbase
      image base "$state/base.tar"
      ;;
    pause)
      "${CC:-cc}" -static -Os -s -o "$state/pause" "$here/node/pause.c"
      image pause "$state/pause"
      ;;
    etcd | coredns | kubernetes | otelcol | k6 | metrics-server) image "$name" "$tools/$name" ;;
    pilot) image pilot "$tools/pilot-discovery" ;;
    proxyv2)
      "$root/e2e/fetch-envoy.sh" --all >/dev/null
      image proxyv2 "$tools/pilot-agent" "$root/target/envoy/$envoy/envoy" "$tools/envoy_bootstrap.json"
      ;;
    app) image app "$tools/otelmesh-app" ;;
    prometheus) image prometheus "$tools/prometheus" "$tools/operator" "$tools/prometheus-config-reloader" ;;
    node) node ;;
    tags) tag_versions ;;
    *) fail "there is no image $name" ;;
  esac
done
