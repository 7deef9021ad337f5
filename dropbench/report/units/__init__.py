"""The panel: what dropout does to the hidden units."""
