"""What the metrics are: matching, recall and their summary, in numpy alone; for the embedded benchmark and reports."""
