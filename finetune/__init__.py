"""What trains, on what, and the training loop."""
