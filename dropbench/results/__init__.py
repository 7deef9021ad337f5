"""The results on disk: the CSV files with their schema, the saved predictions, and the store of both."""
