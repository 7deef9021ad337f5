"""``dropbench doctor``: what is well and what is not on this machine, and how it is mended."""
