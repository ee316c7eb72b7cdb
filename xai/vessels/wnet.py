"""Vessel source "wnet": lwnet's W-Net for arteries and veins.

Galdran et al., "State-of-the-art retinal vessel segmentation with minimalistic models", Scientific Reports 2022;
weights and processing: GitHub agaldran/lwnet (MIT), the weights as safetensors under upstream's names.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy import ndimage, sparse
from torch import nn

from backbones.checkpoint import read_state, sha256
from backbones.loading import WeightsError
from xai.crop import bounding_box
from xai.vessels.source import FundusImage, VesselMasks, vessel_source

# On 23 images W-Net classified 2 to 38 % of the experts' artery pixels as vein (docs/vessels.md).
CAUTION = "W-Net often classifies arteries as veins: rely on the vessel ratio rather than on those of artery and vein."

_CHANNELS = (8, 16, 32, 64)
_CLASSES = 4  # background, uncertain, artery, vein
_STEP = 8  # halved three times, without padding
_FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class _Block(nn.Module):
    """Twice convolution, ReLU and BatchNorm (in this order), plus a linear shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.shortcut(x)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)


class _Up(nn.Module):
    """Doubles the deeper map's size, concatenates the encoder's map of this size, and convolves both."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up_layer = nn.ModuleDict({"block": nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, stride=2))})
        self.conv_bridge_layer = nn.ModuleDict({"block": nn.Sequential(*_convolution(outputs, outputs))})
        self.conv_layer = _Block(2 * outputs, outputs)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        joined = [self.up_layer["block"](deep), self.conv_bridge_layer["block"](skip)]
        return self.conv_layer(torch.cat(joined, dim=1))


class _UNet(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = _Block(inputs, _CHANNELS[0])
        self.down_path = nn.ModuleList(map(_Block, _CHANNELS[:-1], _CHANNELS[1:]))
        self.up_path = nn.ModuleList(map(_Up, _CHANNELS[:0:-1], _CHANNELS[-2::-1]))
        self.final = nn.Conv2d(_CHANNELS[0], _CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [self.first(x)]
        for down in self.down_path:
            maps.append(down(nn.functional.max_pool2d(maps[-1], 2)))
        x = maps.pop()
        for up in self.up_path:
            x = up(x, maps.pop())
        return self.final(x)


class WNet(nn.Module):
    """Two U-Nets in sequence; the second one's input is the image and the first one's logits."""

    def __init__(self) -> None:
        super().__init__()
        self.unet1 = _UNet(3)
        self.unet2 = _UNet(3 + _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits.

        Args:
            x: (B, 3, H, W) float in 0..1, H and W multiples of 8.

        Returns:
            (B, 4, H, W): background, uncertain, artery, vein.
        """
        return self.unet2(torch.cat([x, self.unet1(x)], dim=1))


class WNetSource:
    """Segments images with one of lwnet's W-Nets. The uncertain class is divided between artery and vein.

    Args:
        weights: `.safetensors` file with upstream's keys.
        size: side of the network's input in pixels, a multiple of 8. None for the size in training, or the size of the
            field of view if this is smaller, because on enlarged images arteries are classified as veins.
        device: torch device.
        flips: average over the four mirror images, as upstream does; without, it takes a quarter of the time.

    Raises:
        ValueError: the file is not a W-Net's, `size` is None and the file does not state the size in training, or
            `size` is not a multiple of 8.
    """

    def __init__(self, weights: Path, size: int | None = None, device: str = "cpu", flips: bool = True) -> None:
        model, trained_size = load_wnet(weights)
        self.may_enlarge = size is not None
        size = trained_size if size is None else size
        if size is None:
            raise ValueError(f"{weights}: the file does not state the size in training (im_size): give a size")
        if size < _STEP or size % _STEP:
            raise ValueError(f"W-Net needs a size that is a multiple of {_STEP}, not {size}")
        self.size = size
        self.device = torch.device(device)
        self.flips = _FLIPS if flips else _FLIPS[:1]
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.provenance = {
            "name": "wnet",
            "weights": weights.name,
            "sha256": sha256(weights),
            "size": str(size) if self.may_enlarge else f"{size} or the image's",
            "flips": str(len(self.flips)),
            "caution": CAUTION,
        }

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """The masks of each image, inside its field of view. No pixel is uncertain."""
        return [self._masks(image) for image in images]

    def _masks(self, image: FundusImage) -> VesselMasks:
        (maps,) = self.probabilities(network_input(image, self._size(image.fov))[None])
        return to_masks(maps, image.fov)

    def _size(self, fov: np.ndarray) -> int:
        """Side of the input for an image with this field of view."""
        if self.may_enlarge:
            return self.size
        longest = max(side.stop - side.start for side in bounding_box(fov))
        return min(self.size, max(longest // _STEP, 1) * _STEP)

    @torch.inference_mode()
    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Class probabilities; those of the uncertain class are divided equally between artery and vein.

        Args:
            inputs: (B, S, S, 3) uint8.

        Returns:
            (B, 3, S, S) float32: background, artery, vein.
        """
        pictures = torch.tensor(inputs, device=self.device).permute(0, 3, 1, 2).float() / 255
        background, uncertain, artery, vein = self._average(pictures).unbind(dim=1)
        return torch.stack([background, artery + uncertain / 2, vein + uncertain / 2], dim=1).cpu().numpy()

    def _average(self, pictures: torch.Tensor) -> torch.Tensor:
        """Softmax averaged over the mirror images."""
        total = torch.zeros(())
        for axes in self.flips:
            mirrored = pictures.flip(axes).contiguous(memory_format=torch.channels_last)
            total = total + self.model(mirrored).softmax(dim=1).flip(axes)
        return total / len(self.flips)


@vessel_source("wnet")
def open_wnet(weights: Path | None, size: int | None, device: str) -> WNetSource:
    """The source for a W-Net's weights file, with inputs of `size` or the size in training."""
    if weights is None:
        raise ValueError(
            "vessel source 'wnet' needs weights: name the .safetensors file of a W-Net (GitHub agaldran/lwnet)"
        )
    return WNetSource(Path(weights), size, device)


def convert_wnet(checkpoint: Path, out: Path, size: int | None = None) -> int | None:
    """Converts a checkpoint of lwnet's W-Net to the `.safetensors` file that `open_wnet` reads.

    No code in the checkpoint is run; a checkpoint that contains more than tensors and plain values is refused.

    Args:
        checkpoint: upstream's file with the state dict, alone or as `model_state_dict`.
        out: the file to write.
        size: side of the training images in pixels; by default `im_size` of the JSON file `config.cfg` in the folder of
            the checkpoint, where upstream keeps it.

    Returns:
        The size that was written, or None if it is not known; `open_wnet` then needs a size.

    Raises:
        ValueError: the checkpoint cannot be read, or is not a W-Net for arteries and veins.
    """
    try:
        state = {name: tensor.contiguous() for name, tensor in read_state(checkpoint).items()}
    except WeightsError as error:
        raise ValueError(str(error)) from error
    _require_wnet(state, checkpoint)
    size = size or _configured_size(checkpoint.with_name("config.cfg"))
    metadata = {"source": "lwnet W-Net (GitHub agaldran/lwnet, MIT)"} | ({"im_size": str(size)} if size else {})
    save_file(state, out, metadata)
    return size


def _configured_size(config: Path) -> int | None:
    try:
        return int(json.loads(config.read_text(encoding="utf-8"))["im_size"])
    except (OSError, ValueError, KeyError, TypeError):  # absent, not JSON, or two sides: then the size is not known
        return None


def load_wnet(weights: Path) -> tuple[WNet, int | None]:
    """Loads a W-Net.

    Returns:
        The network in eval mode, and the side of its training images in pixels, or None if the file's metadata do not
        state it (`im_size`).

    Raises:
        ValueError: the file is not safetensors, or its keys and shapes are not exactly those of a W-Net.
    """
    try:
        with safe_open(weights, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
            trained_size = (file.metadata() or {}).get("im_size")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{weights}: cannot be read as safetensors ({error})") from error
    model = _require_wnet(state, weights)
    return model.eval(), int(trained_size) if trained_size else None


def _require_wnet(state: Mapping[str, torch.Tensor], source: Path) -> WNet:
    """The W-Net with these weights; raises a ValueError if keys and shapes are not exactly those of a W-Net."""
    model = WNet()
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if found != expected:
        missing, unexpected = sorted(expected.items() - found.items()), sorted(found.items() - expected.items())
        raise ValueError(
            f"{source}: not the weights of a W-Net: missing {_few(missing)}; unexpected {_few(unexpected)}"
        )
    model.load_state_dict(state)
    return model


def _few(tensors: list[tuple[str, tuple[int, ...]]]) -> str:
    shown = ", ".join(f"{name} {shape}" for name, shape in tensors[:5])
    return f"{len(tensors)} tensors ({shown}{', ...' if len(tensors) > 5 else ''})" if tensors else "none"


def network_input(image: FundusImage, size: int) -> np.ndarray:
    """The bounding box of the field of view, resized to (size, size, 3) uint8 without keeping its aspect ratio.

    Pillow's bilinear interpolation is used.
    """
    box = Image.fromarray(image.rgb[bounding_box(image.fov)])
    return np.asarray(box.resize((size, size), Image.Resampling.BILINEAR))


def to_masks(probabilities: np.ndarray, fov: np.ndarray) -> VesselMasks:
    """The most probable class of each pixel inside the field of view.

    Args:
        probabilities: (3, S, S) maps of background, artery and vein on the bounding box of the field of view, which add
            up to 1. They are resized to the box with cubic splines.
        fov: (H, W) bool, the field of view.
    """
    box = bounding_box(fov)
    inside = fov[box]
    artery, vein = (_resize_spline(plane, inside.shape) for plane in probabilities[1:])
    background = 1 - artery - vein
    masks = np.zeros((2, *fov.shape), dtype=bool)
    masks[0][box] = inside & (artery > background) & (artery >= vein)
    masks[1][box] = inside & (vein > background) & (vein > artery)
    return VesselMasks(masks[0], masks[1], np.zeros_like(fov))


def _resize_spline(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cubic-spline resize of a map (h, w), equal to scikit-image's `resize(order=3)` without its clipping.

    The resize is separable, so it is computed as two sparse products, several times faster than point by point.
    """
    factors = np.divide(plane.shape, shape)
    smooth = ndimage.gaussian_filter(plane, np.maximum(0, (factors - 1) / 2), mode="mirror")  # only if it shrinks
    coefficients = ndimage.spline_filter(smooth, order=3, output=np.float32, mode="mirror")
    rows, columns = map(_spline_weights, plane.shape, shape)
    return (columns @ (rows @ coefficients).T).T


def _spline_weights(length: int, resized: int) -> sparse.csr_array:
    """Weights (resized, length) of the cubic B-splines around each new pixel's centre, mirrored at the ends."""
    position = (np.arange(resized) + 0.5) * length / resized - 0.5
    first = np.floor(position).astype(int)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3], axis=1) / 6
    period = 2 * (length - 1)
    knots = (first[:, None] + np.arange(-1, 3)) % period
    knots = np.minimum(knots, period - knots)
    targets = np.repeat(np.arange(resized), 4)
    return sparse.csr_array((weights.ravel().astype(np.float32), (targets, knots.ravel())), shape=(resized, length))
