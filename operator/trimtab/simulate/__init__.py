"""The ports over a workload model in virtual time."""
