"""What a reader sees of finished runs: tables and drawings. Reads metrics and trees; runs nothing."""
