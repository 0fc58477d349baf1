{{- define "llama-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "llama-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "llama-operator.fullname" .) -}}
{{- end -}}

{{- define "llama-operator.selector" -}}
app.kubernetes.io/name: llama-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "llama-operator.labels" -}}
{{ include "llama-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image reference: repository, then the tag or the chart's appVersion. */}}
{{- define "llama-operator.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .appVersion) -}}
{{- end -}}
