"""The stages, in order: each reads from the run directory what earlier stages left, and adds its own part."""
