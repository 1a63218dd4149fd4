{{/*
Templates here run for one tier of collectors: they take {root: the chart's context, tier: agent or gateway}. A mode's
name holds the names of its tiers.
*/}}

{{/* By what a tier's pods are found; never to be changed, since selectors cannot be. */}}
{{- define "otelmesh.collector.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: collector-{{ .tier }}
{{- end }}

{{- define "otelmesh.collector.labels" -}}
{{ include "otelmesh.labels" .root }}
app.kubernetes.io/component: collector-{{ .tier }}
{{- end }}

{{/* The tier that telemetry meets first. */}}
{{- define "otelmesh.collector.entry" -}}
{{- if contains "agent" .Values.collector.mode -}}agent{{- else -}}gateway{{- end -}}
{{- end }}

{{- define "otelmesh.collector.image" -}}
{{- $image := .Values.collector.image -}}
{{ $image.registry }}/{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Values.collector.version $image.tag }}{{ end }}
{{- end }}

{{/*
Sizes that fit together. Queues and batches are counted in items (spans, log records, data points) of one to two
kilobytes, so a full queue takes about half of the memory.
*/}}
{{- define "otelmesh.collector.sizes" -}}
{{- $preset := index (dict
  "small" (dict "cpu" 100 "memory" 256 "queue" 20000 "batch" 2048 "flush" "1s" "consumers" 4)
  "medium" (dict "cpu" 500 "memory" 1024 "queue" 100000 "batch" 8192 "flush" "500ms" "consumers" 10)
  "large" (dict "cpu" 2000 "memory" 4096 "queue" 400000 "batch" 8192 "flush" "200ms" "consumers" 20)
) .root.Values.collector.preset -}}
{{- $own := index .root.Values.collector .tier -}}
cpu: {{ default $preset.cpu (int $own.cpu) }}
memory: {{ default $preset.memory (int $own.memory) }}
queue: {{ $preset.queue }}
batch: {{ $preset.batch }}
flush: {{ $preset.flush }}
consumers: {{ $preset.consumers }}
{{- end }}

{{/*
What components are called in this version of the collector. Newer versions still know the older names, and warn.
*/}}
{{- define "otelmesh.collector.names" -}}
{{- $version := .Values.collector.version -}}
otlp_grpc: {{ ternary "otlp_grpc" "otlp" (semverCompare ">=0.144.0-0" $version) }}
otlp_http: {{ ternary "otlp_http" "otlphttp" (semverCompare ">=0.144.0-0" $version) }}
k8s_attributes: {{ ternary "k8s_attributes" "k8sattributes" (semverCompare ">=0.146.0-0" $version) }}
load_balancing: {{ ternary "load_balancing" "loadbalancing" (semverCompare ">=0.153.0-0" $version) }}
kubelet_stats: {{ ternary "kubelet_stats" "kubeletstats" (semverCompare ">=0.155.0-0" $version) }}
prometheus_remote_write: {{ ternary "prometheus_remote_write" "prometheusremotewrite" (semverCompare ">=0.154.0-0" $version) }}
resource_detection: {{ ternary "resource_detection" "resourcedetection" (semverCompare ">=0.155.0-0" $version) }}
{{- end }}

{{/* The pod of either tier. */}}
{{- define "otelmesh.collector.pod" -}}
{{- $values := .root.Values.collector -}}
{{- $own := index $values .tier -}}
{{- $sizes := include "otelmesh.collector.sizes" . | fromYaml -}}
{{- $persistent := and (eq .tier "gateway") $values.gateway.persistence.enabled -}}
metadata:
  labels:
    {{- include "otelmesh.collector.labels" . | nindent 4 }}
    # Without a sidecar nothing here is traced, the collector's own exports least of all.
    sidecar.istio.io/inject: {{ ne .root.Values.security.mtls "DISABLE" | quote }}
    {{- if and .root.Values.mesh.revision (ne .root.Values.security.mtls "DISABLE") }}
    istio.io/rev: {{ .root.Values.mesh.revision | quote }}
    {{- end }}
  annotations:
    # A changed configuration rolls the pods: the collector does not watch its file.
    checksum/config: {{ include "otelmesh.collector.config" . | fromYaml | toJson | sha256sum }}
    {{- if ne .root.Values.security.mtls "DISABLE" }}
    # The collector exports when it starts and while it drains, so its sidecar is there before it and after it.
    proxy.istio.io/config: '{"holdApplicationUntilProxyStarts":true,"proxyMetadata":{"EXIT_ON_ZERO_ACTIVE_CONNECTIONS":"true"}}'
    {{- end }}
spec:
  serviceAccountName: {{ $values.name }}-{{ .tier }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $values.image.pullSecret }}
  imagePullSecrets:
    - name: {{ . | quote }}
  {{- end }}
  # Long enough to send what waits; what is left then is lost, or stays on the volume.
  terminationGracePeriodSeconds: 60
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    {{- if $persistent }}
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile:
      type: RuntimeDefault
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .tier "gateway" }}
  affinity:
    podAntiAffinity:
      {{- if eq $own.antiAffinity "hard" }}
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "otelmesh.collector.selector" . | nindent 14 }}
      {{- else }}
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "otelmesh.collector.selector" . | nindent 16 }}
      {{- end }}
  {{- end }}
  containers:
    - name: collector
      image: {{ include "otelmesh.collector.image" .root | quote }}
      {{- with $values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args: ["--config=/etc/otelcol/config.yaml"]
      env:
        - name: MY_POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: MY_POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: K8S_NODE_NAME
          valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        # Go collects harder before the memory limiter refuses, and the limiter refuses before the kernel kills.
        - name: GOMEMLIMIT
          value: {{ div (mul (int $sizes.memory) 80) 100 }}MiB
        {{- if eq .tier "agent" }}
        - name: OTEL_RESOURCE_ATTRIBUTES
          value: host.name=$(K8S_NODE_NAME),k8s.node.name=$(K8S_NODE_NAME)
        {{- end }}
        {{- range $name, $secret := $values.secretEnv }}
        - name: {{ $name | quote }}
          valueFrom:
            secretKeyRef:
              name: {{ $secret.name | quote }}
              key: {{ $secret.key | quote }}
        {{- end }}
      ports:
        - name: otlp-grpc
          containerPort: 4317
        - name: otlp-http
          containerPort: 4318
        - name: metrics
          containerPort: 8888
        - name: health
          containerPort: 13133
      startupProbe:
        httpGet: {path: /, port: health}
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: {path: /, port: health}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /, port: health}
        periodSeconds: 5
      {{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version }}
      lifecycle:
        preStop:
          # Proxies hear of the end a moment after the pod does.
          sleep:
            seconds: 5
      {{- end }}
      # No limit on CPU: a collector that is throttled fills its queue.
      resources:
        requests:
          cpu: {{ int $sizes.cpu }}m
          memory: {{ int $sizes.memory }}Mi
        limits:
          memory: {{ int $sizes.memory }}Mi
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: config
          mountPath: /etc/otelcol
          readOnly: true
        {{- if $persistent }}
        - name: queue
          mountPath: /var/lib/otelcol
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ $values.name }}-{{ .tier }}
{{- end }}
