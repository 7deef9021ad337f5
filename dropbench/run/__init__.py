"""A run: its settings, its identity, its random streams and its result."""
