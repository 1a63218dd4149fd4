FROM scratch
COPY metrics-server /
USER 65532:65532
ENTRYPOINT ["/metrics-server"]
