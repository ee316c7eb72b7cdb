"""Programs behind the numbers in docs/: each measures the benchmark itself, and none is part of a study."""
