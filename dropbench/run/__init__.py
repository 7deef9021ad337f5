"""What a run is: its settings, its identity, its random streams and its result."""
