"""Checkpoints, communication between processes, logging and other small things."""
