{{/* What every object carries. */}}
{{- define "otelmesh.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

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

{{/* Where the filter exports to: as set, or Istio's name of the cluster behind port 4318 of the collector's Service. */}}
{{- define "otelmesh.filter.cluster" -}}
{{- with (default dict .Values.filter.config.exporter).cluster -}}
{{- . -}}
{{- else -}}
{{- with .Values.collector -}}
outbound|4318||{{ required "collector.name is empty" .name }}.{{ required "collector.namespace is empty" .namespace }}.svc.{{ required "collector.clusterDomain is empty" .clusterDomain }}
{{- end -}}
{{- end -}}
{{- end }}
