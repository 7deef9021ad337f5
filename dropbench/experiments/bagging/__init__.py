"""compare-bagging: dropout and bagging at equal cost; members are ordinary runs, arms reductions of them."""
