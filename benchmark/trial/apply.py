"""A trained trial applied to images outside its run, with the run's own preprocessing and rounding.

    trained = open_trained(study, directory, trial)
    scores = trained.scores(crops)

Crops of any cohort will do (`benchmark.study.images.open_cropped`). A test image of the run gets the score and the map
that the run stored.
"""

from dataclasses import dataclass

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

import backbones
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial
from benchmark.trial.device import forward_batch, worker_device
from benchmark.trial.fit import continued, explained_block, from_images, trained_model
from finetune.footprint import Footprint
from finetune.inputs import batches
from finetune.prepared import Prepared
from finetune.training import positive_score, predict_logits


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained trial in memory.

    Attributes:
        study: the configuration of its run.
        directory: the run directory.
        trial: the trial.
        model: its model in eval mode, on the device where it is applied.
        footprint: images on the device at once.
    """

    study: Study
    directory: RunDirectory
    trial: Trial
    model: VisionTransformer
    footprint: Footprint

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def scores(self, crops: np.ndarray) -> np.ndarray:
        """Probability of the positive class, (n,) float64; NaN where the model's output is not finite.

        Args:
            crops: (n, 224, 224, 3) uint8.
        """
        start = self.trial.strategy.open().frozen_blocks(len(self.model.blocks))
        inputs = from_images(self.study, self.trial, self.model, crops, start)
        prepared, rows = Prepared(self.model, self.model, start), np.arange(len(crops))
        logits = self.footprint.run(lambda: predict_logits(prepared, inputs, rows, self.footprint.micro_batch))
        return positive_score(logits)

    def cams(self, crops: np.ndarray) -> np.ndarray:
        """Signed maps of the study's explanation, (n, rows, columns) float32; NaN where there is none.

        Args:
            crops: (n, 224, 224, 3) uint8.
        """
        settings = self.study.explain
        method = settings.open()
        start = method.start(len(self.model.blocks))
        begin = explained_block(self.study, self.directory, self.trial, start)
        inputs = from_images(self.study, self.trial, self.model, crops, begin)
        entering = continued(self.model, inputs, begin, start)

        def explain() -> np.ndarray:
            parts = []
            for piece in batches(len(crops), self.footprint.micro_batch):
                tokens = entering(np.arange(len(crops))[piece])
                with backbones.autocast(self.device):
                    parts.append(method(self.model, tokens, settings.target_class).cpu().numpy())
            return np.concatenate(parts)

        return self.footprint.run(explain)


def open_trained(study: Study, directory: RunDirectory, trial: Trial) -> Trained:
    """Load a trained trial onto the GPU, or onto all cores that PyTorch uses if there is none.

    Raises:
        backbones.WeightsError: the backbone's weights are not available, or are not those that the run recorded.
    """
    here = {"cpus": torch.get_num_threads(), "gpus": float(torch.cuda.is_available())}
    resources = study.resources.model_copy(update=here)
    device = worker_device(resources)
    model = trained_model(trial, directory).requires_grad_(False).to(device)
    return Trained(study, directory, trial, model, Footprint(forward_batch(device, resources.batch_size)))
