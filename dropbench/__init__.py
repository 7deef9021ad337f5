"""dropbench: measure what dropout does, on your own machine and data."""

__version__ = "0.1.0"
