"""Arrays in files, and those of a call."""
