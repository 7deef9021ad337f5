"""``dropbench speed``: how fast dropbench is beside a plain PyTorch loop on the same work."""
