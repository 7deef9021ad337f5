"""Sweeps: the error against p, as tables, figures, words and the command that makes it again."""
