"""The study: configuration, cohort, images, run directory, scheduling on Ray, leaderboard."""
