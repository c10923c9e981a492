"""Plays the pods of a workload on a local control plane: nodes, pod lifecycles, traffic and telemetry.

The control plane of `hack/controlplane` has no kubelet and no containers. This program is its only kubelet: it
registers nodes, takes pods through their lives, gives every ready endpoint its share of the offered load, computes
from the pod's REAL resources what it does with it (`trimtab.workload`), and serves what an application, cAdvisor and
kube-state-metrics would serve.
"""
