"""What each subcommand means: it builds RunConfigs and reduces RunResults. Nothing here prints."""
