"""The study card: the items of reporting guidelines, filled in with what a run knows."""
