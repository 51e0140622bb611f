"""Datasets in Visual Genome's scene-graph format: writer, reader, validator, mini-VG and the VRD converter."""
