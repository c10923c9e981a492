"""Thousands of simulated worlds in which everything goes wrong: `make chaos`."""
