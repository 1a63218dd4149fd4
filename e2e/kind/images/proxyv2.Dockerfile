# Istio's agent with a stock Envoy instead of Istio's own build.
FROM otelmesh/base
COPY pilot-agent envoy /usr/local/bin/
COPY envoy_bootstrap.json /var/lib/istio/envoy/envoy_bootstrap_tmpl.json
# An extension that only Istio's own build has, which the agent wants in waypoints whatever it is told.
RUN ["/bin/busybox", "sed", "-i", "s/if .metadata_discovery/if false/", "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json"]
ENV PATH=/usr/local/bin:/usr/sbin:/bin ISTIO_META_ISTIO_PROXY_SHA=stock-envoy
ENTRYPOINT ["/usr/local/bin/pilot-agent"]
