"""``dropbench find``: which setting is the best, in the time there is, and how sure that is."""
