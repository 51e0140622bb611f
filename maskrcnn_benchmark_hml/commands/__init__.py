"""The subcommands of ``hml``, one file each: the parser, the call, and what it prints."""
