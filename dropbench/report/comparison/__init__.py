"""Comparisons of arms: dropout, bagging and their relatives at equal cost."""
