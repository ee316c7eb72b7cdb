"""Recognises the kind of a file by its first bytes, not by its suffix."""

import json
import tarfile
import zipfile
from pathlib import Path

# First bytes of a file and its kind, except for PyTorch's own kinds (zip and pickle).
FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "a Keras or TensorFlow file (HDF5)"),
    (b"GGUF", "a GGUF file, quantised for llama.cpp"),
    (b"\x93NUMPY", "a NumPy array"),
)
PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"Rar!", "RAR"),
)
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")
CONVERT = "use the model's PyTorch weights (.safetensors or .pth)"
TAR_MAGIC = slice(257, 262)  # position of the mark of a tar archive
MOST_JSON = 64 * 2**20  # bytes; an index of shards is far smaller


def is_safetensors(start: bytes) -> bool:
    """True if these first bytes are those of safetensors: the header's length in 8 bytes, then the header in JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32


def refusal(path: Path) -> str | None:
    """The kind of a file that is not a PyTorch or safetensors checkpoint, with the fix after a semicolon.

    Returns:
        A phrase for an error message; None for a checkpoint and for a file of unknown kind.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "empty; download it again"
    if is_safetensors(start):
        return None
    if start.lstrip().lower().startswith(WEB_PAGE):
        return "a web page, not a checkpoint; download the file itself, logged in if it is gated"
    if start.startswith(b"version https://git-lfs."):
        return "a Git LFS pointer, not the weights; run `git lfs pull` in its folder"
    for magic, kind in FOREIGN:
        if start.startswith(magic):
            return f"{kind}, not a PyTorch checkpoint; {CONVERT}"
    for magic, kind in PACKED:
        if start.startswith(magic):
            return f"a file packed with {kind}, not a checkpoint; unpack it and name the checkpoint in it"
    if start[TAR_MAGIC] == b"ustar":
        return _tar(path)
    if start.startswith(b"PK\x03\x04"):
        return _zip(path)
    if start.lstrip().startswith(b"{"):
        return _json(path)
    return _protobuf_or_msgpack(start, path.suffix.lower())


def _zip(path: Path) -> str | None:
    """The kind of a zip archive: PyTorch's checkpoints are zip archives, but so are TorchScript's and many others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return None  # damaged: the function that reads it reports this
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside:
        return (
            "a TorchScript archive, not a state dict; if you trust it, load it with torch.jit.load, save its "
            "state_dict() as .safetensors and name that file"
        )
    if "data.pkl" in inside:
        return None
    if any(name.endswith(".npy") for name in names):
        return f"NumPy arrays (.npz), not a PyTorch checkpoint; {CONVERT}"
    if "model.weights.h5" in names:
        return f"a Keras model, not a PyTorch checkpoint; {CONVERT}"
    held = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}" if names else "nothing"
    return f"a zip archive of {held}, not a checkpoint; unpack it and name the checkpoint in it"


def _tar(path: Path) -> str:
    try:
        with tarfile.open(path, "r:") as archive:
            names = {name for member in archive for name in [member.name.removeprefix("./")]}
    except (tarfile.TarError, OSError):
        names = set()
    if {"storages", "tensors"} <= names:
        return (
            "a checkpoint of PyTorch before 0.1.10 (tar), which cannot be read without running code in it; if you "
            "trust it, load it, save its state dict as .safetensors and name that file"
        )
    return "a tar archive, not a checkpoint; unpack it and name the checkpoint in it"


def _json(path: Path) -> str | None:
    if path.stat().st_size > MOST_JSON:
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:  # includes a wrong encoding
        return None
    if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
        parts = len(set(map(str, content["weight_map"].values())))
        return (
            f"the index of a checkpoint in {parts} parts, not the weights; join the parts into one .safetensors file "
            "and name that file"
        )
    return None


def _protobuf_or_msgpack(start: bytes, suffix: str) -> str | None:
    """The kind of a file whose format has no unique mark: by its first byte and by a suffix or a second mark."""
    if start[0] == 0x08 and (suffix == ".onnx" or b"pytorch" in start[:64]):  # field 1, the version, then the producer
        return f"an ONNX model, not a PyTorch checkpoint; {CONVERT}"
    if start[0] == 0x08 and suffix == ".pb":
        return f"a TensorFlow SavedModel, not a PyTorch checkpoint; {CONVERT}"
    if start[4:8] == b"TFL3":
        return f"a TensorFlow Lite model, not a PyTorch checkpoint; {CONVERT}"
    if suffix == ".msgpack" or (0x81 <= start[0] <= 0x8F and (0xA0 <= start[1] <= 0xBF or start[1] == 0xD9)):
        return f"a Flax checkpoint (msgpack), not a PyTorch checkpoint; {CONVERT}"  # a map whose first key is text
    return None
