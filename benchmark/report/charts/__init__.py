"""The charts of leaderboard.html: polars frames in, inline SVG out, one module per kind of chart."""
