"""One training step and its memory, in a separate process; as a program, it measures resident memory."""

import gc
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import backbones
from finetune.strategies import open_strategy

# oneDNN's kernels for newer processors use other buffers, which in bfloat16 take up to half of a step's memory.
ON_ANY_PROCESSOR = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # to be set before torch is imported


def prepare(name: str, strategy: str, batch: int, checkpointing: bool, half: bool) -> tuple[Tensor, Callable[[], None]]:
    """The inputs and the step on them: forward and backward through the blocks in the strategy's backward pass."""
    backbone, opened = backbones.get(name), open_strategy(strategy)
    model = backbone.skeleton(classes=2).to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    opened.apply(model).train()
    start = opened.frozen_blocks(backbone.depth)
    inputs = torch.randn(batch, *((backbone.tokens, backbone.width) if start else (3, 224, 224)))
    labels = torch.zeros(batch, dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = backbones.finish_from(model, inputs, start, checkpointing)
        F.cross_entropy(logits.float(), labels).backward()

    gc.collect()
    return inputs, step


def allocated(*case: str | int) -> int:
    """Peak bytes of PyTorch's allocator in one step, as its profiler records them, and bytes of the inputs."""
    inputs, step = prepare(*case)  # type: ignore[arg-type]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    held = [event["args"] for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"])]
    before = held[0]["Total Allocated"] - held[0]["Bytes"]
    return max(memory["Total Allocated"] for memory in held) - before + inputs.nbytes


def resident_rise(name: str, strategy: str, batch: int, checkpointing: bool, half: bool) -> int:
    """Peak rise in bytes of the process's resident memory in one step, and bytes of the inputs."""
    inputs, step = prepare(name, strategy, batch, checkpointing, half)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before + inputs.nbytes


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = json.loads(sys.argv[1])
    for name, strategy, _, *rest in cases:
        resident_rise(name, strategy, 1, *rest)  # imports and preparation are not part of it
    print(json.dumps([resident_rise(*case) for case in cases]))
