"""Vessel source "bfnet": AutoMorph's ensemble of BF-Nets for arteries and veins.

Zhou et al., "Learning to Address Intra-segment Misclassification in Retinal Imaging", MICCAI 2021; weights and
processing: GitHub rmaphoh/AutoMorph (Apache-2.0), folder M2_Artery_vein.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from backbones.checkpoint import read_state
from backbones.loading import State, WeightsError, load_strictly
from xai.vessels.automorph import BACKGROUND, clean, enlarge, find_crop, network_input, to_masks
from xai.vessels.source import FundusImage, VesselMasks, vessel_source

_CLASSES = 4  # background, artery, vein, uncertain
_TRAINED_SIZE = 720
_STEP = 16  # halved four times, without padding
_FILES = {"main": "CP_best_F1_all", "artery": "CP_best_F1_A", "vein": "CP_best_F1_V"}
_SUFFIXES = (".safetensors", ".pth")
_TRAINING_ONLY = ("S1.", "S2.", "S3.")  # heads of the decoder for deep supervision


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


class _DoubleConvolution(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.double_conv(x)


class _Down(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _DoubleConvolution(inputs, 2 * inputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.maxpool_conv(x)


class _Up(nn.Module):
    """Doubles the deeper map's size and adds two combinations with the encoder's map: channel pairs and convolved."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv_bottom = nn.ModuleDict({"single_conv": nn.Sequential(*_convolution(2 * outputs, outputs))})
        pairs = nn.Sequential(nn.BatchNorm2d(outputs // 2), nn.ReLU(inplace=True))
        self.add = nn.ModuleDict({"activation": pairs})
        self.conv = _DoubleConvolution(2 * outputs, outputs)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        deep = nn.functional.interpolate(self.conv_bottom["single_conv"](deep), scale_factor=2, mode="nearest")
        pairs = [self.add["activation"](x.unflatten(1, (-1, 2)).sum(dim=2)) for x in (deep, skip)]
        return torch.cat(pairs, dim=1) + self.conv(torch.cat([deep, skip], dim=1))


class _UNet(nn.Module):
    def __init__(self, filters: int) -> None:
        super().__init__()
        self.inc = _DoubleConvolution(3, filters)
        self.down1, self.down2, self.down3, self.down4 = (_Down(filters * 2**step) for step in range(4))
        self.up1, self.up2, self.up3, self.up4 = (_Up(filters * 2**step) for step in (3, 2, 1, 0))
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(filters, _CLASSES, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, filters, H, W), the input of `outc`."""
        maps = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, maps.pop())
        return x


class BFNet(nn.Module):
    """One member: networks for arteries and for veins, and a main one that classifies the average of all three."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.main, self.artery, self.vein = (_UNet(filters) for _ in _FILES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits.

        Args:
            x: (B, 3, H, W) float32 from `xai.vessels.automorph.network_input`, H and W multiples of 16.

        Returns:
            (B, 4, H, W): background, artery, vein, uncertain.
        """
        return self.main.outc["conv"]((self.artery(x) + self.main(x) + self.vein(x)) / len(_FILES))


class BFNetSource:
    """Segments images with an ensemble of all members below a folder.

    Args:
        weights: a folder with one folder per member, at any depth. Each contains `CP_best_F1_all`, `CP_best_F1_A` and
            `CP_best_F1_V`, as `.safetensors` or `.pth`. AutoMorph's M2_Artery_vein/ALL-AV has eight members.
        size: side of the network's input in pixels, a multiple of 16; None for 720, the size in training.
        device: torch device.

    Raises:
        ValueError: there is no member, a file is missing or is not a BF-Net's, or `size` is not a multiple of 16.
    """

    def __init__(self, weights: Path, size: int | None = None, device: str = "cpu") -> None:
        size = _TRAINED_SIZE if size is None else size
        if size < _STEP or size % _STEP:
            raise ValueError(f"BF-Net needs a size that is a multiple of {_STEP}, not {size}")
        self.size = size
        self.device = torch.device(device)
        folders = find_members(weights)
        self.members = [load_member(folder).to(self.device) for folder in folders]
        self.provenance = {
            "name": "bfnet",
            "weights": weights.name,
            "size": str(size),
            "members": str(len(folders)),
            "folders": ", ".join(folder.relative_to(weights).as_posix() for folder in folders),
            "sha256": _digest(folders),
        }

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """The masks of each image, at the image's size.

        Their `disagreement` is the standard deviation over members of the probability of the chosen class, averaged
        over the vessels.

        Raises:
            ValueError: AutoMorph's crop or the network's input cannot be computed for an image.
        """
        if not images:
            return []
        crops, inputs, found = [], [], []
        for image in images:
            try:
                crops.append(find_crop(image.rgb))
                inputs.append(network_input(crops[-1].apply(image.rgb), self.size))
            except ValueError as error:
                raise ValueError(f"{image.row['image']}: {error}") from error
        for crop, mean, deviation in zip(crops, *self.probabilities(np.stack(inputs)), strict=True):
            labels = clean(mean.argmax(axis=0).astype(np.uint8))
            found.append(to_masks(enlarge(labels, crop.side, crop.side), crop, self._disagreement(labels, deviation)))
        return found

    @torch.inference_mode()
    def probabilities(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over members of the class probabilities.

        Args:
            inputs: (B, 3, H, W) float32 from `xai.vessels.automorph.network_input`.

        Returns:
            Mean and standard deviation, each (B, 4, H, W) float32: background, artery, vein, uncertain.
        """
        pictures = torch.from_numpy(inputs).to(self.device)
        # On a CPU a batch is not faster, and needs more memory.
        batches = pictures.split(1 if self.device.type == "cpu" else len(pictures))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # the input's range needs full float32
            results = [self._ensemble(batch) for batch in batches]
        mean, deviation = (torch.cat(parts).cpu().numpy() for parts in zip(*results, strict=True))
        return mean, deviation

    def _ensemble(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        votes = torch.stack([member(pictures).softmax(dim=1) for member in self.members])
        return votes.mean(dim=0), votes.std(dim=0, correction=0)

    def _disagreement(self, labels: np.ndarray, deviation: np.ndarray) -> float | None:
        """The mean standard deviation over the vessels; None for a single member or without vessels."""
        vessel = labels != BACKGROUND
        if len(self.members) < 2 or not vessel.any():
            return None
        chosen = np.take_along_axis(deviation, labels[None].astype(int), axis=0)[0]
        return float(chosen[vessel].mean())


@vessel_source("bfnet")
def open_bfnet(weights: Path | None, size: int | None, device: str) -> BFNetSource:
    """The source for the members below the folder `weights`, with inputs of `size` or 720 pixels."""
    if weights is None:
        raise ValueError(
            "vessel source 'bfnet' needs weights: name the folder of its members (M2_Artery_vein/ALL-AV in AutoMorph)"
        )
    return BFNetSource(Path(weights), size, device)


def find_members(folder: Path) -> list[Path]:
    """The folders of members below a folder, in alphabetical order.

    Raises:
        ValueError: there is no member.
    """
    found = sorted({file.parent for suffix in _SUFFIXES for file in folder.rglob(f"{_FILES['main']}{suffix}")})
    if not found:
        raise ValueError(
            f"{folder}: no {_FILES['main']}.pth or .safetensors below it: name AutoMorph's folder M2_Artery_vein/ALL-AV"
        )
    return found


def load_member(folder: Path) -> BFNet:
    """Loads a member in eval mode. Its width follows from its files.

    Raises:
        ValueError: a file is missing or unreadable, or its keys and shapes are not exactly those of a BF-Net.
    """
    files = _files(folder)
    try:
        states = {network: read_state(file) for network, file in files.items()}
        member = BFNet(_filters(states["main"], files["main"]))
        for network, state in states.items():
            used = {key: value for key, value in state.items() if not key.startswith(_TRAINING_ONLY)}
            load_strictly(member.get_submodule(network), used, (), files[network])
    except WeightsError as error:
        raise ValueError(str(error)) from error
    return member.eval().requires_grad_(False)


def _filters(state: State, file: Path) -> int:
    first = state.get("inc.double_conv.0.weight")
    if first is None:
        raise ValueError(f"{file}: not the weights of a BF-Net: inc.double_conv.0.weight is missing")
    return first.shape[0]


def _files(folder: Path) -> dict[str, Path]:
    """The member's files by network."""
    found = {}
    for network, name in _FILES.items():
        files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES if (folder / f"{name}{suffix}").is_file()]
        if not files:
            raise ValueError(
                f"{folder}: no {name}.pth or .safetensors: a member needs all of {', '.join(_FILES.values())}"
            )
        found[network] = files[0]
    return found


def _digest(folders: Sequence[Path]) -> str:
    """Hex SHA-256 digest of the concatenated files of all members."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in _files(folder).values():
            digest.update(file.read_bytes())
    return digest.hexdigest()
