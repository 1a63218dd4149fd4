FROM scratch
COPY etcd /usr/local/bin/
ENV PATH=/usr/local/bin
