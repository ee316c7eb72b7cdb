"""The charts of leaderboard.html: polars frames in, inline SVG out, one file a kind of chart."""
