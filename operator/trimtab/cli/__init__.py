"""The command line: trimtab and kubectl trimtab."""
