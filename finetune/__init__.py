"""What trains, on what, and the training loop."""

from finetune.checkpoint import load_trained, save_trained
from finetune.inputs import Embeddings, Images, Inputs, plan_views
from finetune.strategies import STRATEGIES, Strategy, open_strategy
from finetune.training import Epoch, Recipe, Split, positive_score, predict_logits, train

__all__ = [
    "STRATEGIES",
    "Embeddings",
    "Epoch",
    "Images",
    "Inputs",
    "Recipe",
    "Split",
    "Strategy",
    "load_trained",
    "open_strategy",
    "plan_views",
    "positive_score",
    "predict_logits",
    "save_trained",
    "train",
]
