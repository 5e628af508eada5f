"""The command line: what it asks, and what it shows."""
