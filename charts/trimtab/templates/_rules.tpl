{{/*
What the operator does in a namespace whose Experiments it runs. Nothing is ever patched; the admission policy narrows
create, update and delete to the operator's own objects.
*/}}
{{- define "trimtab.rules" -}}
# Its own resources: finalizers by PUT, status by its own subresource, Trials as the write-ahead log.
- apiGroups: [trimtab.dev]
  resources: [experiments]
  verbs: [get, list, watch, update]
- apiGroups: [trimtab.dev]
  resources: [trials]
  verbs: [get, list, watch, create, update]
- apiGroups: [trimtab.dev]
  resources: [experiments/status, trials/status]
  verbs: [update]
# Asked for where OwnerReferencesPermissionEnforcement is on (OpenShift): a Trial blocks its Experiment's deletion.
- apiGroups: [trimtab.dev]
  resources: [experiments/finalizers]
  verbs: [update]
# Targets are read; arms are created and deleted.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# What stands beside a target.
- apiGroups: [apps]
  resources: [statefulsets, daemonsets]
  verbs: [get]
- apiGroups: [""]
  resources: [services, resourcequotas, limitranges]
  verbs: [list]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [autoscaling.k8s.io]
  resources: [verticalpodautoscalers]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list]
# Recommendations and what experiments have spent; one lock per target; what happened.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
# Reading one is for a repeated POST that finds the Event which it made; listing, for what the cluster reports of arms.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, list, create, update]
{{- if .Values.traffic.httpRoute }}
# traffic.mode HTTPRoute: weights in a route; arms have a Service and, where the target has an autoscaler, one of their own.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, update]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, create, delete]
{{- end }}
{{- end -}}


{{/*
What `trimtab reap` does in such a namespace: it sees arms and their Trials, frees routes, and deletes arms.
*/}}
{{- define "trimtab.reapRules" -}}
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [list, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [trimtab.dev]
  resources: [trials]
  verbs: [get]
# An arm with a Service may have a route that leads to it: where the rights below are gone, that is said, not overlooked.
- apiGroups: [""]
  resources: [services]
  verbs: [list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- if .Values.traffic.httpRoute }}
# Routes are freed of an arm's weights before the arm is deleted.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, update]
- apiGroups: [""]
  resources: [services]
  verbs: [delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [delete]
{{- end }}
{{- end -}}

{{/*
What `trimtab reap --all` does beyond that: it lets go of what Trimtab holds.
*/}}
{{- define "trimtab.uninstallRules" -}}
{{ include "trimtab.reapRules" . }}
- apiGroups: [trimtab.dev]
  resources: [experiments, trials]
  verbs: [get, list, update]
{{- end -}}
