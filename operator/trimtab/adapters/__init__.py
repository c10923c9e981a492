"""The ports over a real API server, a real Prometheus and a process pool."""
