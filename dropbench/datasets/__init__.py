"""Data sets as uint8 images in memory: one file per kind of source, one registry, one cache."""
