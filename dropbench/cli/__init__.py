"""The command line: flags and help, one file per subcommand; torch and matplotlib are imported inside."""
