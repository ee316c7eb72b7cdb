"""Fine-tuning: the strategies, the inputs of a training step, and the training loop."""
