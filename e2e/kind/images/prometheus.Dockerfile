# Prometheus, its operator, and what the operator puts beside each Prometheus, in one image.
FROM otelmesh/base
COPY prometheus operator prometheus-config-reloader /bin/
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
