"""Faults of a simulated world: which there are, plans of them, and how a plan is drawn, carried out and shortened."""
