"""The heads that work on boxes."""
