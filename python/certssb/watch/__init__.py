"""What long work shows while it runs: a bar, a line in the log, callbacks."""
