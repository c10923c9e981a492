{{- define "trimtab.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "trimtab.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "trimtab.name" . -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what has no namespace: unique over releases of one name. */}}
{{- define "trimtab.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "trimtab.fullname" .) -}}
{{- end -}}

{{- define "trimtab.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trimtab.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "trimtab.labels" -}}
{{ include "trimtab.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "trimtab.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "trimtab.fullname" .) "default") -}}
{{- end -}}

{{- define "trimtab.leaseName" -}}
{{- printf "%s-operator" (include "trimtab.fullname" .) -}}
{{- end -}}

{{- define "trimtab.userName" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "trimtab.serviceAccountName" .) -}}
{{- end -}}

{{- define "trimtab.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of a namespaced install, separated by commas; empty for the whole cluster. */}}
{{- define "trimtab.namespaces" -}}
{{- if eq .Values.scope "Namespace" -}}
{{- .Values.namespaces | default (list .Release.Namespace) | join "," -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.prometheusPort" -}}
{{- $url := urlParse .Values.prometheus.url -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end -}}

{{/* Accounts of `trimtab reap`: each minute, and before an uninstall. Where no account is made it is the operator's, which
may do all that both need. */}}
{{- define "trimtab.reapServiceAccountName" -}}
{{- .Values.reap.serviceAccountName | default (.Values.serviceAccount.create | ternary (printf "%s-reap" (include "trimtab.fullname" .)) (include "trimtab.serviceAccountName" .)) -}}
{{- end -}}

{{- define "trimtab.uninstallServiceAccountName" -}}
{{- .Values.serviceAccount.create | ternary (printf "%s-uninstall" (include "trimtab.fullname" .)) (include "trimtab.serviceAccountName" .) -}}
{{- end -}}

{{/* Everybody whose requests the operator's policy narrows, as a CEL list. */}}
{{- define "trimtab.userNames" -}}
{{- $users := list (include "trimtab.userName" .) -}}
{{- range $name := list (include "trimtab.reapServiceAccountName" .) (include "trimtab.uninstallServiceAccountName" .) -}}
{{- $users = append $users (printf "system:serviceaccount:%s:%s" $.Release.Namespace $name) -}}
{{- end -}}
{{- $quoted := list -}}
{{- range $users | uniq -}}{{- $quoted = append $quoted (squote .) -}}{{- end -}}
[{{ join ", " $quoted }}]
{{- end -}}
