"""The wire: pydantic models that are the only source of the CRDs, and the reading of Kubernetes objects."""
