"""The meaning of each subcommand: which RunConfigs it builds, and how it reduces their RunResults.

Nothing here prints.
"""
