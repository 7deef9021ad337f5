"""Which setting is the best: the race of ``dropbench find``."""
