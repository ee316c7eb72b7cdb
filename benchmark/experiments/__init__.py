"""Programs that reproduce the tables of the docs."""
