"""Before a run: the plan, whether the test set suffices, and the doctor."""
