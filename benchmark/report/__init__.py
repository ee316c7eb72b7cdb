"""Presentation: results.json, the page, its sentences, LaTeX, terminal tables, charts and templates."""
