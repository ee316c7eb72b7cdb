"""Fits a batch into the device's memory."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")

# Fewer images than this use a GPU poorly, so the next step is gradient checkpointing rather than smaller batches.
SMALL = 8


@dataclass
class Footprint:
    """The number of images on the device at once. It shrinks when memory runs out, and does not grow again.

    Attributes:
        micro_batch: images on the device at once.
        checkpointing: whether gradient checkpointing is on.
    """

    micro_batch: int
    checkpointing: bool = False

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Calls a function until it fits into memory, and makes this footprint smaller after each failure.

        Args:
            work: the function, which reads this footprint.
            *arguments: its arguments.

        Returns:
            The result of `work`.

        Raises:
            torch.OutOfMemoryError: one image at a time does not fit, even with gradient checkpointing.
        """
        while True:
            try:
                return work(*arguments)
            except torch.OutOfMemoryError as error:
                reason = str(error).split(". ")[0]
            # Outside the except block, where the error's traceback no longer keeps the tensors of the attempt alive.
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
                "use a larger GPU, a smaller backbone, or a strategy that trains fewer of its parameters"
            )
