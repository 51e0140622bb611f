"""A trained run and pictures, with or without boxes, give scene graphs as data."""
