"""Where a study runs: everything that imports Ray."""
