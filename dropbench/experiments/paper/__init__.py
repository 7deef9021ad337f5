"""``dropbench paper``: the experiments of the lecture and the 2014 paper, each declared in a file."""
