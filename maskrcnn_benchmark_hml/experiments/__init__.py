"""Runs that belong together: one cell is one training and test run in a folder; a demo or a grid is many."""
