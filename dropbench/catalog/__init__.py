"""Names that a call or the command line takes (models, dropout variants, arms), as plain data."""
