"""Programs that reproduce the tables of the documentation, and the miniature models that the demo uses."""
