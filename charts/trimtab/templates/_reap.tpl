{{/*
Account, rights and pod of `trimtab reap`. Arguments: root, account (its name), rules (their template), suffix (of names),
lease (verbs on the operators' Lease), annotations (a hook's, or none).
*/}}
{{- define "trimtab.reapRights" -}}
{{- $root := .root }}
{{- $subject := dict "kind" "ServiceAccount" "name" .account "namespace" $root.Release.Namespace }}
{{- $clusterName := printf "%s-%s" (include "trimtab.clusterName" $root) .suffix }}
{{- $spaces := ternary (list "") (splitList "," (include "trimtab.namespaces" $root)) (eq $root.Values.scope "Cluster") }}
{{- if $root.Values.serviceAccount.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .account }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "trimtab.labels" $root | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- if $root.Values.rbac.create }}
{{- range $space := $spaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $space | empty | ternary "ClusterRole" "Role" }}
metadata:
  name: {{ $clusterName }}
  {{- with $space }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "trimtab.labels" $root | nindent 4 }}
  {{- with $.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
rules:
{{ include $.rules $root }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $space | empty | ternary "ClusterRoleBinding" "RoleBinding" }}
metadata:
  name: {{ $clusterName }}
  {{- with $space }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "trimtab.labels" $root | nindent 4 }}
  {{- with $.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $space | empty | ternary "ClusterRole" "Role" }}
  name: {{ $clusterName }}
subjects:
- {{- toYaml $subject | nindent 2 }}
{{- end }}
---
# Where the operators' Lease is.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "trimtab.fullname" $root }}-{{ .suffix }}-lease
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "trimtab.labels" $root | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
rules:
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "trimtab.leaseName" $root }}]
  verbs: {{ without .lease "create" | toJson }}
{{- if has "create" .lease }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "trimtab.fullname" $root }}-{{ .suffix }}-lease
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "trimtab.labels" $root | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "trimtab.fullname" $root }}-{{ .suffix }}-lease
subjects:
- {{- toYaml $subject | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "trimtab.reapSelectorLabels" -}}
app.kubernetes.io/name: {{ include "trimtab.name" . }}-reap
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels that no selector of the operator's own pods matches. */}}
{{- define "trimtab.reapLabels" -}}
{{- $own := merge (fromYaml (include "trimtab.reapSelectorLabels" .)) (fromYaml (include "trimtab.labels" .)) -}}
{{- toYaml $own -}}
{{- end -}}

{{- define "trimtab.reapPod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "trimtab.reapLabels" $root | nindent 4 }}
    {{- with $root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $root.Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  {{- with $root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 2 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: reap
    image: {{ include "trimtab.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: [python, -m, trimtab.runtime.reap]
    # The chart names both the Lease and its user, so it cannot be the wrong one.
    args: [{{ .mode }}, --missing-lease-ok]
    env:
    - {name: TRIMTAB_NAMESPACE, value: {{ include "trimtab.namespaces" $root | quote }}}
    - {name: TRIMTAB_LEASE_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: TRIMTAB_LEASE_NAME, value: {{ include "trimtab.leaseName" $root }}}
    - {name: TRIMTAB_LOG_FORMAT, value: {{ $root.Values.log.format }}}
    - {name: TRIMTAB_LOG_LEVEL, value: {{ $root.Values.log.level }}}
    resources: {{- toYaml $root.Values.reap.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
    - {name: tmp, mountPath: /tmp}
  volumes:
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
  {{- with $root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
