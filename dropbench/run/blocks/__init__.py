"""The blocks of a run's settings, one a file: each field is declared once, and a block checks itself."""
