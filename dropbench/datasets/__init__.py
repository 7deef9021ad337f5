"""Data sets as uint8 images in memory: their sources, a registry and a cache."""
