"""After a run: a trained trial applied to new images, or uploaded to a Hugging Face hub."""
