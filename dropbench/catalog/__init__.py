"""What can be named in a call or on the command line: models, dropout variants, arms; plain data."""
