# What Envoy, Istio's agent and kube-proxy need of a system: glibc, iptables in both flavours, a shell, root certificates.
# The packages are unpacked and not installed, so what their installation would link is linked here.
FROM scratch
ADD base.tar /
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN for f in iptables ip6tables; do for s in "" -save -restore; do \
      rm -f /bin/$f$s; ln -sf xtables-nft-multi /usr/sbin/$f$s; \
    done; done; \
    mkdir -p /etc/ssl/certs /tmp /run /etc/istio/proxy /var/lib/istio; chmod 1777 /tmp; chmod 777 /etc/istio/proxy; \
    cat /usr/share/ca-certificates/mozilla/*.crt >/etc/ssl/certs/ca-certificates.crt; \
    printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nistio-proxy:x:1337:1337::/:/bin/false\n' >/etc/passwd; \
    printf 'root:x:0:\nnogroup:x:65534:\nistio-proxy:x:1337:\n' >/etc/group; \
    printf 'hosts: files dns\n' >/etc/nsswitch.conf
