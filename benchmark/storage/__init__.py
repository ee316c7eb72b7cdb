"""Files: the run directory, tables, the lock, and what a disk refuses."""
