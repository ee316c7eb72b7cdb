"""Numbers a reviewer accepts: plain arrays in, numbers out."""
