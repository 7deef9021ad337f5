"""What ``import dropbench`` offers: the calls that a notebook makes, and the commands are."""
