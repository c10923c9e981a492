"""What the demo and the cluster tests run: the operator as its chart installs it, a workload, a Prometheus.

The operator runs as a process of its own with the chart's ServiceAccount token, never as admin, so a missing or an
excess right shows.
"""

from stack.namespaces import drop_namespaces, make_namespaces
from stack.operator import OperatorProcess
from stack.place import Place
from stack.playground import Playground
from stack.setup import Stack, StackOptions

__all__ = ["OperatorProcess", "Place", "Playground", "Stack", "StackOptions", "drop_namespaces", "make_namespaces"]
