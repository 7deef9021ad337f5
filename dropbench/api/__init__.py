"""The calls that ``import dropbench`` offers, one a file; the commands are thin callers of them."""
