"""Boxes with fields, and batches of images of different sizes."""
