"""What ``hml doctor`` examines before a run: checkout, machine, environment and data."""
