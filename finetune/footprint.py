"""Making a batch fit into the device's memory."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")

# A GPU is poorly used by fewer images than this, so recomputing activations is the lesser evil from here on.
SMALL = 8


@dataclass
class Footprint:
    """How much of a batch is on the device at once; it shrinks when memory runs out, and stays small."""

    micro_batch: int
    checkpointing: bool = False

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of `work`, which reads this footprint and is called again with a smaller one until it fits.

        Raises:
            torch.OutOfMemoryError: one image at a time does not fit, even with gradient checkpointing.
        """
        while True:
            try:
                return work(*arguments)
            except torch.OutOfMemoryError as error:
                reason = str(error).split(". ")[0]
            # Out here nothing of the failed attempt is alive; inside, the error's traceback would hold its tensors.
            self._shrink(reason)
            gc.collect()
            torch.cuda.empty_cache()

    def _shrink(self, reason: str) -> None:
        if self.micro_batch > SMALL:
            self.micro_batch = -(-self.micro_batch // 2)
        elif not self.checkpointing:
            self.checkpointing = True
        elif self.micro_batch > 1:
            self.micro_batch //= 2
        else:
            raise torch.OutOfMemoryError(
                f"one image at a time with gradient checkpointing does not fit ({reason}); "
                "take a larger GPU, a smaller backbone, or a strategy that trains less of it"
            )
