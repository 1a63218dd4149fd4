# One program, called by four names; kube-proxy is the one that needs iptables.
FROM otelmesh/base
COPY kubernetes /usr/local/bin/
RUN for n in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do ln -s kubernetes /usr/local/bin/$n; done
ENV PATH=/usr/local/bin:/usr/sbin:/bin
