FROM otelmesh/base
COPY k6 /usr/bin/
USER 12345:12345
ENTRYPOINT ["/usr/bin/k6"]
