"""Where it runs: everything that imports Ray."""
