"""What the scripts run: loss reduction, the training log and the test loop."""
