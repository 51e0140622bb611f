"""The model: backbone, region proposals, box head and relation head."""
