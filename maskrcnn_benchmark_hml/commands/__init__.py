"""The subcommands of hml, one file each."""
