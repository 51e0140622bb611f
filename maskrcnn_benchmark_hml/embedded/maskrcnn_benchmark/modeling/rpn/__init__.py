"""Where the boxes come from."""
