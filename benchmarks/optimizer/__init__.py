"""The optimizer beside its peers: on functions whose optimum is known, and on services that must stay safe."""
