"""Dropout: the masks, a layer for every variant, and control over the dropout layers of a model."""
