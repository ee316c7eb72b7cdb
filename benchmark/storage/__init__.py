"""Files: the run directory, its lock, the start of a run, and writing to disk."""
