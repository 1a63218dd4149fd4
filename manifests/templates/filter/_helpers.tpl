{{/* Where the filter's objects live: it decides for which workloads they hold. */}}
{{- define "otelmesh.filter.namespace" -}}
{{- required "filter.namespace and mesh.rootNamespace are both empty" (default .Values.mesh.rootNamespace .Values.filter.namespace) -}}
{{- end }}

{{/*
A digest in the URL, not in the field sha256: the agent checks either, but by digest it also asks the registry, so that
a tag that moved does no harm.
*/}}
{{- define "otelmesh.filter.url" -}}
{{- $image := .Values.filter.image -}}
{{- $registry := required "filter.image.registry is empty: push the filter with `otelmesh image push`, then name its registry" $image.registry -}}
{{- $repository := required "filter.image.repository is empty" $image.repository -}}
oci://{{ $registry }}/{{ $repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* Which workloads: the filter and what prepares Envoy for it must agree. */}}
{{- define "otelmesh.filter.target" -}}
{{- if and .Values.filter.selector .Values.filter.targetRefs -}}
{{- fail "filter.selector and filter.targetRefs are both set; Istio takes one of them" -}}
{{- end -}}
{{- with .Values.filter.selector -}}
selector:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- with .Values.filter.targetRefs -}}
targetRefs:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}

{{/* The same for an EnvoyFilter, whose selector is spelled otherwise. */}}
{{- define "otelmesh.filter.workloads" -}}
{{- with .Values.filter.selector.matchLabels -}}
workloadSelector:
  labels:
    {{- toYaml . | nindent 4 }}
{{- end -}}
{{- with .Values.filter.targetRefs -}}
targetRefs:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}

{{/* The collector's Service. */}}
{{- define "otelmesh.collector.host" -}}
{{- with .Values.collector -}}
{{ required "collector.name is empty" .name }}.{{ required "collector.namespace is empty" .namespace }}.svc.{{ required "collector.clusterDomain is empty" .clusterDomain }}
{{- end -}}
{{- end }}

{{/*
The collector's port for what the filter speaks.
*/}}
{{- define "otelmesh.filter.port" -}}
{{- if eq (default "" (default dict .Values.filter.config.exporter).protocol) "grpc" }}4317{{ else }}4318{{ end -}}
{{- end }}

{{/* Whether the filter exports through a cluster of its own: Istio gives waypoints none for Services that they do not serve. */}}
{{- define "otelmesh.filter.ownCluster" -}}
{{- if and (or .Values.filter.ownCluster .Values.filter.targetRefs) (not (default dict .Values.filter.config.exporter).cluster) -}}true{{- end -}}
{{- end }}

{{/*
Where the filter exports to: as set, or a cluster of its own, or Istio's name of the cluster behind that port of the
collector's Service.
*/}}
{{- define "otelmesh.filter.cluster" -}}
{{- with (default dict .Values.filter.config.exporter).cluster -}}
{{- . -}}
{{- else -}}
{{- if include "otelmesh.filter.ownCluster" . -}}
{{ .Release.Name }}-collector
{{- else -}}
outbound|{{ include "otelmesh.filter.port" . }}||{{ include "otelmesh.collector.host" . }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The filter's own configuration. */}}
{{- define "otelmesh.filter.config" -}}
exporter:
  cluster: {{ include "otelmesh.filter.cluster" . | quote }}
  {{- $exporter := default dict .Values.filter.config.exporter }}
  {{- if and (include "otelmesh.filter.ownCluster" .) (not $exporter.authority) }}
  authority: {{ include "otelmesh.collector.host" . }}
  {{- end }}
  {{- with omit $exporter "cluster" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with omit .Values.filter.config "exporter" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether Istio knows TrafficExtensions. */}}
{{- define "otelmesh.filter.isTrafficExtension" -}}
{{- if .Values.mesh.istioVersion -}}
{{- if semverCompare ">=1.30-0" .Values.mesh.istioVersion -}}true{{- end -}}
{{- else if has "extensions.istio.io/v1alpha1/TrafficExtension" .Capabilities.APIVersions -}}true{{- end -}}
{{- end }}

{{/* What WasmPlugin and TrafficExtension say alike of the module. */}}
{{- define "otelmesh.filter.wasm" -}}
url: {{ include "otelmesh.filter.url" . }}
{{- with .Values.filter.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- with .Values.filter.image.pullSecret }}
imagePullSecret: {{ . | quote }}
{{- end }}
failStrategy: {{ .Values.filter.failStrategy }}
vmConfig:
  env:
    {{- range .Values.filter.hostEnv }}
    {{- if not (hasKey $.Values.filter.env .) }}
    - name: {{ . | quote }}
      valueFrom: HOST
    {{- end }}
    {{- end }}
    {{- range $name, $value := .Values.filter.env }}
    - name: {{ $name | quote }}
      value: {{ $value | quote }}
    {{- end }}
pluginConfig:
  {{- include "otelmesh.filter.config" . | nindent 2 }}
{{- end }}
