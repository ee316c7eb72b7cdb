"""Checks before a run: the plan, the precision that the test set allows, and the doctor."""
