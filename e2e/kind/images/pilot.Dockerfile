FROM otelmesh/base
COPY pilot-discovery /usr/local/bin/
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/pilot-discovery"]
