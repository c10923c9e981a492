"""`make demo`: an Experiment tuned on a real local control plane with a real Prometheus, from start to end."""
