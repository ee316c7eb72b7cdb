"""Presentation: results.json, pages, sentences, LaTeX, the terminal, charts and templates."""
