"""Trimtab: a Kubernetes operator for safe production tuning."""

__version__ = "0.1.0"
