{{- /* Names of what is in the namespace; what is outside of it has the namespace in its name too, so that there may be several releases. */ -}}
{{- define "reconciler.name" -}}
{{- if contains "reconciler" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-reconciler" (.Release.Name | trunc 29 | trimSuffix "-") }}{{ end -}}
{{- end }}

{{- define "reconciler.clusterName" -}}
{{ include "reconciler.name" . }}.{{ .Release.Namespace }}
{{- end }}

{{- define "reconciler.selector" -}}
app.kubernetes.io/name: reconciler
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "reconciler.labels" -}}
{{ include "reconciler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
