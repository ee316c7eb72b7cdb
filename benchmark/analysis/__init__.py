"""Numbers: measures of each cell, comparisons between cells, and the leaderboard."""
