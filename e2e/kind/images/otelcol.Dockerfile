FROM otelmesh/base
COPY otelcol /otelcol
USER 10001:10001
ENTRYPOINT ["/otelcol"]
