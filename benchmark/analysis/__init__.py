"""Numbers: measures of each trial, comparisons between cells, and the leaderboard."""
