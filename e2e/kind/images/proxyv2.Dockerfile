# Istio's agent with a stock Envoy instead of Istio's own build.
FROM otelmesh/base
COPY pilot-agent envoy /usr/local/bin/
COPY envoy_bootstrap.json /var/lib/istio/envoy/envoy_bootstrap_tmpl.json
ENV PATH=/usr/local/bin:/usr/sbin:/bin ISTIO_META_ISTIO_PROXY_SHA=stock-envoy
ENTRYPOINT ["/usr/local/bin/pilot-agent"]
