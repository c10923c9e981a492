"""The operator as a process on a real control plane: what it needs, and scenes that watch what it does."""
