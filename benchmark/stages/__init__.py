"""In which order: the stages; each reads what the stage before left in the run directory and writes its own part."""
