# A node image for kind: the steps of kind's own base image on Debian 12, whose systemd still takes cgroup v1, and of its
# node image, with Kubernetes built from its Go module. Instead of kindnet, which is not to be had, a bridge for one node.
FROM scratch
ADD node.tar /
ADD kind-files.tar /tmp/kind/
RUN cd /tmp/kind && chmod 755 usr/local/bin/* kind/bin/* && cp -a usr kind / && \
    for d in containerd default sysctl.d systemd/system systemd/system/kubelet.service.d; do \
      mkdir -p /etc/$d && find etc/$d -maxdepth 1 -type f -exec cp {} /etc/$d/ \; ; done && \
    rm -rf /tmp/kind /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
      /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
      /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* && \
    mkdir -p /kind/images /kind/manifests /etc/kubernetes/manifests /opt/cni /etc/cni/net.d /usr/local/sbin && \
    echo "ReadKMsg=no" >>/etc/systemd/journald.conf && \
    ln -sf /usr/lib/systemd/systemd /sbin/init && \
    for b in containerd ctr containerd-shim-runc-v2; do ln -sf /usr/bin/$b /usr/local/bin/$b; done && \
    ln -sf /usr/sbin/runc /usr/local/sbin/runc && ln -sfn /usr/lib/cni /opt/cni/bin && \
    systemctl enable kubelet.service containerd.service undo-mount-hacks.service && \
    systemctl mask systemd-binfmt.service && \
    # What kind's entrypoint does where it may not lower a process's OOM score either.
    sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml && \
    ctr oci spec | jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' \
      >/etc/containerd/cri-base.json
COPY kubernetes /usr/bin/kubeadm
COPY conflist /etc/cni/net.d/10-kindnet.conflist
COPY version /kind/version
COPY default-cni.yaml /kind/manifests/
RUN ln -s kubeadm /usr/bin/kubelet && ln -s kubeadm /usr/bin/kubectl
ENV container=docker
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
