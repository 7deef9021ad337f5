"""Dropout itself: the masks, the layer in both scaling conventions, and control over a model's layers."""
