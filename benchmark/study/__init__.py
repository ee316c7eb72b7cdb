"""What is studied: configuration, cells, and the cohort from its files to its splits."""
