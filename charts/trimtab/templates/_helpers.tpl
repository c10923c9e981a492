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

{{/* The port of an address. */}}
{{- define "trimtab.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end -}}

{{/* Ports of a NetworkPolicy's rule. */}}
{{- define "trimtab.tcpPorts" -}}
{{- range . }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* What every pod of the chart may reach: DNS and the API server. */}}
{{- define "trimtab.commonEgress" -}}
- ports:
  {{- range .Values.networkPolicy.dnsPorts }}
  - {port: {{ . }}, protocol: UDP}
  {{- end }}
  {{- include "trimtab.tcpPorts" .Values.networkPolicy.dnsPorts | trim | nindent 2 }}
- ports:
  {{- include "trimtab.tcpPorts" .Values.networkPolicy.apiServerPorts | trim | nindent 2 }}
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

{{/* The list of metrics stores as the operator reads it; secrets are the files that deployment.yaml mounts. */}}
{{- define "trimtab.stores" -}}
stores:
{{- range .Values.telemetry.stores }}
{{- if and (eq .name "default") $.Values.prometheus.url }}
{{- fail "telemetry.stores: default is also what prometheus.url names; unset it or choose another name" }}
{{- end }}
{{- $files := printf "/var/run/trimtab/stores/%s" .name }}
- name: {{ .name }}
  kind: {{ .kind | default "Prometheus" }}
  url: {{ .url | quote }}
  {{- if .bearerTokenSecret }}
  auth: {bearerTokenFile: {{ $files }}/token}
  {{- else if .basic }}
  auth: {basic: {username: {{ .basic.username | quote }}, passwordFile: {{ $files }}/password}}
  {{- end }}
  {{- with .tls }}
  tls:
    {{- if .caSecret }}
    caFile: {{ $files }}/ca.crt
    {{- end }}
    {{- if .certSecret }}
    certFile: {{ $files }}/tls.crt
    keyFile: {{ $files }}/tls.key
    {{- end }}
  {{- end }}
  {{- with .headers }}
  headers:
  {{- range $number, $header := . }}
  - {name: {{ $header.name }}, valueFile: {{ $files }}/header-{{ $number }}}
  {{- end }}
  {{- end }}
  {{- with .tenant }}
  tenant: {{ . | quote }}
  {{- end }}
  {{- with .replicaLabels }}
  replicaLabels: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The Secrets of one store as sources of a projected volume; empty when it has none. */}}
{{- define "trimtab.storeSources" -}}
{{- $files := dict }}
{{- with .bearerTokenSecret }}{{ $_ := set $files "token" . }}{{ end }}
{{- with .basic }}{{ $_ := set $files "password" .passwordSecret }}{{ end }}
{{- with .tls }}
{{- with .caSecret }}{{ $_ := set $files "ca.crt" . }}{{ end }}
{{- with .certSecret }}{{ $_ := set $files "tls.crt" . }}{{ end }}
{{- with .keySecret }}{{ $_ := set $files "tls.key" . }}{{ end }}
{{- end }}
{{- range $number, $header := .headers }}{{ $_ := set $files (printf "header-%d" $number) $header.valueSecret }}{{ end }}
{{- range $path, $secret := $files }}
- secret: {name: {{ $secret.name }}, items: [{key: {{ $secret.key }}, path: {{ $path }}}]}
{{- end }}
{{- end -}}
