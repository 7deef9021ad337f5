"""``dropbench speed``: the speed of dropbench beside that of a plain PyTorch loop on the same work."""
