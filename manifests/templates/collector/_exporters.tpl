{{/* Retry and queue of an exporter: what waits is bounded, and is on the volume where there is one. */}}
{{- define "otelmesh.collector.queue" -}}
{{- $values := .root.Values.collector -}}
{{- $sizes := include "otelmesh.collector.sizes" . | fromYaml -}}
retry_on_failure:
  enabled: true
  initial_interval: 1s
  max_interval: 30s
  # A backend may be away for so long; then what waited is dropped and counted.
  max_elapsed_time: 10m
sending_queue:
  enabled: true
  num_consumers: {{ int $sizes.consumers }}
  {{- if semverCompare ">=0.144.0-0" $values.version }}
  sizer: items
  queue_size: {{ int $sizes.queue }}
  batch:
    sizer: items
    flush_timeout: {{ $sizes.flush }}
    min_size: {{ int $sizes.batch }}
    max_size: {{ mul 2 (int $sizes.batch) }}
  {{- else }}
  # Counted in batches.
  queue_size: {{ div (int $sizes.queue) (int $sizes.batch) }}
  {{- end }}
  {{- if and (eq .tier "gateway") $values.gateway.persistence.enabled }}
  storage: file_storage
  {{- end }}
{{- end }}

{{/* Where agents send to: every gateway by its own address, so that load is shared call by call. */}}
{{- define "otelmesh.collector.gatewayHost" -}}
{{- with .Values.collector -}}
{{ .name }}-gateway.{{ .namespace }}.svc.{{ .clusterDomain }}
{{- end -}}
{{- end }}

{{- define "otelmesh.collector.exporters" -}}
{{- $values := .root.Values.collector -}}
{{- $names := include "otelmesh.collector.names" .root | fromYaml -}}
{{- if and (eq .tier "agent") (eq $values.mode "agent-gateway") }}
{{ $names.otlp_grpc }}/gateway:
  endpoint: dns:///{{ include "otelmesh.collector.gatewayHost" .root }}:4317
  balancer_name: round_robin
  tls:
    # A sidecar encrypts, where there is one.
    insecure: true
  {{- include "otelmesh.collector.queue" . | nindent 2 }}
{{- if eq $values.sampling.mode "tail" }}
# All spans of a trace go to one gateway, which alone can judge the trace.
{{ $names.load_balancing }}/gateway:
  routing_key: traceID
  protocol:
    otlp:
      tls:
        insecure: true
      timeout: 10s
  resolver:
    dns:
      hostname: {{ include "otelmesh.collector.gatewayHost" .root }}
      port: "4317"
      interval: 5s
  {{- include "otelmesh.collector.queue" . | nindent 2 }}
{{- end }}
{{- else }}
{{- $unheard := false }}
{{- range $signal := list "traces" "metrics" "logs" }}
{{- if eq (include "otelmesh.collector.isUnheard" (dict "root" $.root "tier" $.tier "signal" $signal)) "true" }}
{{- $unheard = true }}
{{- end }}
{{- end }}
{{- if $unheard }}
debug:
  verbosity: basic
{{- end }}
{{- range $name, $exporter := $values.exporters }}
{{ include "otelmesh.collector.exporterName" (dict "names" $names "name" $name "type" $exporter.type) }}:
  {{- include "otelmesh.merge" (dict
    "base" (include "otelmesh.collector.exporter" (dict "root" $.root "tier" $.tier "exporter" $exporter) | fromYaml)
    "over" (default dict $exporter.config)) | fromYaml | toYaml | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "otelmesh.collector.exporterName" -}}
{{- if eq .type "debug" -}}debug{{- else -}}{{- index .names .type -}}{{- end -}}/{{ .name }}
{{- end }}

{{/* One exporter before its own settings are laid over it. */}}
{{- define "otelmesh.collector.exporter" -}}
{{- if eq .exporter.type "debug" -}}
verbosity: detailed
{{- else -}}
endpoint: {{ required "an exporter under collector.exporters has no endpoint" .exporter.endpoint | quote }}
{{- if eq .exporter.type "prometheus_remote_write" }}
# Who a metric is about becomes labels, or series of different pods would be one.
resource_to_telemetry_conversion:
  enabled: true
retry_on_failure:
  enabled: true
  initial_interval: 1s
  max_interval: 30s
  max_elapsed_time: 10m
remote_write_queue:
  enabled: true
  queue_size: 10000
  num_consumers: 5
{{- else }}
timeout: 10s
compression: gzip
{{ include "otelmesh.collector.queue" . }}
{{- end }}
{{- end -}}
{{- end }}

{{/*
The exporters of one pipeline. A signal that nobody takes ends in the collector's log: without a pipeline the collector
would refuse it, and the filter would count it as lost.
*/}}
{{- define "otelmesh.collector.pipelineExporters" -}}
{{- $values := .root.Values.collector -}}
{{- $names := include "otelmesh.collector.names" .root | fromYaml -}}
{{- $found := false -}}
{{- if and (eq .tier "agent") (eq $values.mode "agent-gateway") }}
{{- $found = true }}
{{- if and (eq .signal "traces") (eq $values.sampling.mode "tail") }}
- {{ $names.load_balancing }}/gateway
{{- else }}
- {{ $names.otlp_grpc }}/gateway
{{- end }}
{{- else }}
{{- range $name, $exporter := $values.exporters }}
{{- $signals := default (ternary (list "metrics") (list "traces" "metrics" "logs") (eq $exporter.type "prometheus_remote_write")) $exporter.signals }}
{{- if has $.signal $signals }}
{{- $found = true }}
- {{ include "otelmesh.collector.exporterName" (dict "names" $names "name" $name "type" $exporter.type) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $found }}
- debug
{{- end }}
{{- end }}

{{/* Whether no exporter takes a signal. */}}
{{- define "otelmesh.collector.isUnheard" -}}
{{- eq "- debug" (include "otelmesh.collector.pipelineExporters" . | replace "\n" "") -}}
{{- end }}
