"""The pure core: snapshot, transition table, decide, actions."""
