"""SLIs, error budgets, burn rates, sequential tests and verdicts: pure."""
