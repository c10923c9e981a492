"""The thin shell: observe, act, reconcile, the safety loop, leadership, kopf handlers."""
