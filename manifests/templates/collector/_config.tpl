{{/* A tier's whole configuration: what is generated, and the values' own laid over it. */}}
{{- define "otelmesh.collector.config" -}}
{{- $own := index .root.Values.collector.config .tier -}}
{{- $generated := include "otelmesh.collector.generated" . | fromYaml -}}
{{- include "otelmesh.merge" (dict "base" $generated "over" $own) | fromYaml | toYaml -}}
{{- end }}

{{/* How the trace ids of `otelmesh verify` begin: "otmv" in ASCII. One in four thousand million others begins so too. */}}
{{- define "otelmesh.verify.prefix" -}}
6f746d76
{{- end }}

{{- define "otelmesh.collector.generated" -}}
{{- $values := .root.Values.collector -}}
{{- $names := include "otelmesh.collector.names" .root | fromYaml -}}
{{- $sizes := include "otelmesh.collector.sizes" . | fromYaml -}}
{{- $entry := eq .tier (include "otelmesh.collector.entry" .root) -}}
{{- $last := or (eq .tier "gateway") (eq $values.mode "agent") -}}
{{- $tail := and (eq $values.sampling.mode "tail") (eq .tier "gateway") -}}
{{- $probabilistic := and (eq $values.sampling.mode "probabilistic") $entry -}}
{{- $persistent := and (eq .tier "gateway") $values.gateway.persistence.enabled -}}
{{- $batchInQueue := semverCompare ">=0.144.0-0" $values.version -}}
{{- $clusterMetrics := and $values.clusterMetrics $last -}}
{{- $verify := and $entry $values.verify -}}
{{- $kubeletMetrics := and $values.kubeletMetrics (eq .tier "agent") -}}
extensions:
  health_check:
    endpoint: ${env:MY_POD_IP}:13133
  {{- if $persistent }}
  file_storage:
    directory: /var/lib/otelcol
  {{- end }}
  {{- if $clusterMetrics }}
  # One pod at a time, or every count of the cluster's objects would come once from each.
  k8s_leader_elector:
    auth_type: serviceAccount
    lease_name: {{ $values.name }}-cluster-metrics
    lease_namespace: {{ $values.namespace }}
  {{- end }}
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: ${env:MY_POD_IP}:4317
      http:
        endpoint: ${env:MY_POD_IP}:4318
        {{- with $values.corsAllowedOrigins }}
        cors:
          allowed_origins:
            {{- toYaml . | nindent 12 }}
        {{- end }}
  {{- if $clusterMetrics }}
  k8s_cluster:
    auth_type: serviceAccount
    k8s_leader_elector: k8s_leader_elector
  {{- end }}
  {{- if $kubeletMetrics }}
  {{ $names.kubelet_stats }}:
    auth_type: serviceAccount
    endpoint: https://${env:K8S_NODE_NAME}:10250
    {{- if $values.kubeletInsecureSkipVerify }}
    insecure_skip_verify: true
    {{- else }}
    ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    {{- end }}
  {{- end }}
processors:
  memory_limiter:
    check_interval: 1s
    limit_percentage: 80
    spike_limit_percentage: 25
  {{- if $entry }}
  {{ $names.k8s_attributes }}:
    auth_type: serviceAccount
    {{- if eq .tier "agent" }}
    filter:
      node_from_env_var: K8S_NODE_NAME
    {{- end }}
    extract:
      metadata:
        - k8s.namespace.name
        - k8s.deployment.name
        - k8s.statefulset.name
        - k8s.daemonset.name
        - k8s.pod.name
        - k8s.pod.uid
        - k8s.node.name
      labels:
        - {tag_name: k8s.pod.label.app, key: app, from: pod}
        - {tag_name: k8s.pod.label.app.kubernetes.io/name, key: app.kubernetes.io/name, from: pod}
    # The filter knows its pod's address; the connection's is the second best, since a node may translate it.
    pod_association:
      - sources:
          - {from: resource_attribute, name: k8s.pod.ip}
      - sources:
          - {from: resource_attribute, name: k8s.pod.uid}
      - sources:
          - {from: connection}
  {{ $names.resource_detection }}:
    {{- if eq .tier "agent" }}
    detectors: [env, system]
    system:
      resource_attributes:
        # To this pod its own name is the host's name; the node's is in the environment.
        host.name: {enabled: false}
        os.type: {enabled: true}
    {{- else }}
    # Not system: that is this pod's node, and what it takes in comes from others.
    detectors: [env]
    {{- end }}
    timeout: 2s
    override: false
  {{- end }}
  {{- if $probabilistic }}
  probabilistic_sampler:
    sampling_percentage: {{ float64 $values.sampling.percentage }}
    # By the trace id's threshold, so that all who sample agree.
    mode: proportional
  {{- end }}
  {{- if $tail }}
  tail_sampling:
    decision_wait: {{ $values.sampling.decisionWait }}
    num_traces: {{ int $values.sampling.numTraces }}
    # Spans that come late follow what was decided.
    decision_cache:
      sampled_cache_size: {{ mul 2 (int $values.sampling.numTraces) }}
      non_sampled_cache_size: {{ mul 4 (int $values.sampling.numTraces) }}
    policies:
      {{- if $values.sampling.errors }}
      - name: errors
        type: status_code
        status_code:
          status_codes: [ERROR]
      {{- end }}
      {{- with int $values.sampling.latencyMillis }}
      - name: slow
        type: latency
        latency:
          threshold_ms: {{ . }}
      {{- end }}
      - name: share
        type: probabilistic
        probabilistic:
          sampling_percentage: {{ float64 $values.sampling.percentage }}
  {{- end }}
  {{- if $verify }}
  # All but what `otelmesh verify` sends, whose trace ids begin alike.
  filter/verify:
    error_mode: ignore
    traces:
      span:
        - not IsMatch(trace_id.string, "^{{ include "otelmesh.verify.prefix" . }}")
    logs:
      log_record:
        - not IsMatch(trace_id.string, "^{{ include "otelmesh.verify.prefix" . }}")
  {{- end }}
  {{- if not $batchInQueue }}
  batch:
    send_batch_size: {{ int $sizes.batch }}
    send_batch_max_size: {{ mul 2 (int $sizes.batch) }}
    timeout: {{ $sizes.flush }}
  {{- end }}
exporters:
  {{- include "otelmesh.collector.exporters" . | nindent 2 }}
  {{- if $verify }}
  debug/verify:
    verbosity: detailed
  {{- end }}
service:
  extensions:
    - health_check
    {{- if $persistent }}
    - file_storage
    {{- end }}
    {{- if $clusterMetrics }}
    - k8s_leader_elector
    {{- end }}
  telemetry:
    logs:
      encoding: json
    metrics:
      {{- if semverCompare ">=0.123.0-0" $values.version }}
      readers:
        - pull:
            exporter:
              prometheus:
                host: ${env:MY_POD_IP}
                port: 8888
                # Written out, since what a reader leaves out changed its meaning: names end in units and in _total.
                without_type_suffix: false
                without_units: false
                without_scope_info: true
      {{- else }}
      address: ${env:MY_POD_IP}:8888
      {{- end }}
  pipelines:
    {{- range $signal := list "traces" "metrics" "logs" }}
    {{ $signal }}:
      receivers:
        - otlp
        {{- if eq $signal "metrics" }}
        {{- if $clusterMetrics }}
        - k8s_cluster
        {{- end }}
        {{- if $kubeletMetrics }}
        - {{ $names.kubelet_stats }}
        {{- end }}
        {{- end }}
      processors:
        - memory_limiter
        {{- if $entry }}
        - {{ $names.k8s_attributes }}
        - {{ $names.resource_detection }}
        {{- end }}
        {{- if eq $signal "traces" }}
        {{- if $probabilistic }}
        - probabilistic_sampler
        {{- end }}
        {{- if $tail }}
        - tail_sampling
        {{- end }}
        {{- end }}
        {{- if not $batchInQueue }}
        - batch
        {{- end }}
      exporters:
        {{- include "otelmesh.collector.pipelineExporters" (dict "root" $.root "tier" $.tier "signal" $signal) | nindent 8 }}
    {{- end }}
    {{- if $verify }}
    {{- range $signal := list "traces" "logs" }}
    {{ $signal }}/verify:
      receivers: [otlp]
      processors: [memory_limiter, {{ $names.k8s_attributes }}, filter/verify]
      exporters: [debug/verify]
    {{- end }}
    {{- end }}
{{- end }}
