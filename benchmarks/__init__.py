"""Figures that Trimtab promises, measured."""
