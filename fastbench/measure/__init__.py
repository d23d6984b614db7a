"""What is measured: the timed passes, the clock, the machine meanwhile, and the predictions."""
