"""Runs that belong together: one run is one training and test in one folder; a demo or a grid has many."""
