"""What a reader sees of finished runs: tables and drawings. Reads results and trees; runs nothing."""
