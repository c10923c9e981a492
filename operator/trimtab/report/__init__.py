"""Text tables, plots and the HTML report."""
