{{/* What every object carries. */}}
{{- define "otelmesh.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What makes Istio inject sidecars into a namespace's pods. */}}
{{- define "otelmesh.injection" -}}
{{- with .Values.mesh.revision -}}
istio.io/rev: {{ . | quote }}
{{- else -}}
istio-injection: enabled
{{- end -}}
{{- end }}

{{/*
Whether a namespace is ours to create: Helm does not take over the one that it installs from, which is there already.
*/}}
{{- define "otelmesh.createsNamespace" -}}
{{- if not (and (eq .root.Release.Service "Helm") (eq .root.Release.Namespace .namespace)) -}}true{{- end -}}
{{- end }}

{{/*
One map laid over another, key by key; null takes a key away. mergeOverwrite would ignore false, 0 and empty strings.
*/}}
{{- define "otelmesh.merge" -}}
{{- $over := .over -}}
{{- range $key, $value := .base }}
{{- if not (hasKey $over $key) }}
{{ dict $key $value | toYaml }}
{{- else if and (kindIs "map" $value) (kindIs "map" (index $over $key)) (index $over $key) }}
{{ $key | quote }}:
  {{- include "otelmesh.merge" (dict "base" $value "over" (index $over $key)) | nindent 2 }}
{{- else if not (kindIs "invalid" (index $over $key)) }}
{{ dict $key (index $over $key) | toYaml }}
{{- end }}
{{- end }}
{{- range $key, $value := $over }}
{{- if not (or (hasKey $.base $key) (kindIs "invalid" $value)) }}
{{ dict $key $value | toYaml }}
{{- end }}
{{- end }}
{{- end }}
