"""Programs that reproduce the tables of the documentation, and that make the demo's miniature models."""
