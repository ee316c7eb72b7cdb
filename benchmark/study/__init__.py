"""The definition of a study: configuration, trials, and the cohort from its files to its splits."""
