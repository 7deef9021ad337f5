"""The CSV files: their schema, the appending store, and reading them back."""
