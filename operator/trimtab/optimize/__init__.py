"""The optimizer: a constrained Gaussian process with a safe set, behind the Designer port."""
