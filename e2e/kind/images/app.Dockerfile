FROM otelmesh/base
COPY otelmesh-app /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/otelmesh-app"]
