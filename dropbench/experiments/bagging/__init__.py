"""``dropbench compare-bagging``: dropout and bagging at equal cost.

Members are ordinary runs; an arm is a reduction of their predictions.
"""
