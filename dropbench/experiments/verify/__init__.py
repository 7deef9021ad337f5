"""``dropbench verify``: checks that dropout is what the lecture and the paper say, against mathematics."""
