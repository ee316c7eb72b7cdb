"""A file that is not a checkpoint is recognised by its content, and the message names a suitable fix."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import msgpack
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.checkpoint import read_state, require_kind
from backbones.formats import refusal
from backbones.loading import WeightsError

STATE = {"weight": torch.arange(6.0).view(2, 3)}


def saved(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(**members):
    def write(buffer):
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "/").replace("_h5", ".h5"), content)

    return saved(write)


def tarred(*names):
    def write(buffer):
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())

    return saved(write)


def torchscript():
    return saved(lambda buffer: torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), buffer))


CHECKPOINT = saved(lambda buffer: torch.save(STATE, buffer))
INDEX = {
    "metadata": {},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}
FOREIGN = {
    "torchscript": (torchscript, r"a TorchScript archive, not a state dict; .* save its state_dict\(\) as \.saf"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), r"a Keras or TensorFlow file \(HDF5\).*; use the model's"),
    "keras zip": (lambda: zipped(config="{}", model__weights="", **{"model.weights_h5": ""}), "a Keras model"),
    "gguf": (lambda: b"GGUF\x03\x00\x00\x00" + bytes(100), "a GGUF file.*; use the model's PyTorch weights"),
    "flax": (lambda: msgpack.packb({"params": {"kernel": b"\x00" * 64}}), r"a Flax checkpoint \(msgpack\).*; use the"),
    "onnx": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(100), "an ONNX model.*; use the model's PyTorch"),
    "tflite": (lambda: b"\x1c\x00\x00\x00TFL3" + bytes(100), "a TensorFlow Lite model.*; use the model's PyTorch"),
    "npz": (lambda: saved(lambda buffer: np.savez(buffer, kernel=np.ones(3))), r"NumPy arrays \(\.npz\).*; use"),
    "npy": (lambda: saved(lambda buffer: np.save(buffer, np.ones(3))), "a NumPy array.*; use the model's PyTorch"),
    "gzip": (lambda: gzip.compress(CHECKPOINT), "a file packed with gzip, not a checkpoint; unpack it and name"),
    "bzip2": (lambda: bz2.compress(CHECKPOINT), "a file packed with bzip2, .*; unpack it and name"),
    "xz": (lambda: lzma.compress(CHECKPOINT), "a file packed with xz, .*; unpack it and name"),
    "7-Zip": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(100), "a file packed with 7-Zip, .*; unpack it and name"),
    "tar": (lambda: tarred("weights/model.pth"), "a tar archive, not a checkpoint; unpack it and name the checkpoint"),
    "old tar": (
        lambda: tarred("sys_info", "pickle", "storages", "tensors"),
        r"a checkpoint of PyTorch before 0\.1\.10 \(tar\).*; if you trust it, load it, save its state dict as \.saf",
    ),
    "zip": (lambda: zipped(README="", model__a="x"), "a zip archive of README, model/a, not a checkpoint; unpack it"),
    "index": (lambda: json.dumps(INDEX).encode(), r"the index of a checkpoint in 2 parts.*; join the parts into one"),
}  # fmt: skip


@pytest.mark.parametrize("file", ["ViT-B-32.pt", "a.safetensors", "my weights.pth"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_another_kind_of_file_is_named_with_what_to_do(kind, file, tmp_path):
    """OpenAI's ViT-B-32.pt is TorchScript, and not damaged (ArrowLuo/CLIP4Clip#70, mlfoundations/open_clip#1149)."""
    write, message = FOREIGN[kind]
    (tmp_path / file).write_bytes(write())
    for check in (read_state, require_kind):
        with pytest.raises(WeightsError, match=rf"{file}: {message}") as error:
            check(tmp_path / file)
        assert "download it again" not in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_pytorchs_own_files_are_refused_by_nothing(legacy, tmp_path):
    torch.save(STATE, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "unknown").write_bytes(b"weights")
    assert [refusal(path) for path in sorted(tmp_path.iterdir())] == [None, None, None]


@pytest.mark.parametrize("file", ["a.pth", "a.bin", "a", "a.safetensors"])
def test_content_and_not_the_suffix_says_how_a_file_is_read(file, tmp_path):
    for save in (
        save_file,
        torch.save,
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    ):
        save(STATE, tmp_path / file)
        assert torch.equal(read_state(tmp_path / file)["weight"], STATE["weight"])


@pytest.mark.parametrize("file", ["a.pth", "a.safetensors"])
def test_a_header_longer_than_the_file_is_damage(file, tmp_path):
    save_file(STATE, tmp_path / "whole")
    (tmp_path / file).write_bytes((tmp_path / "whole").read_bytes()[:40])
    with pytest.raises(WeightsError, match=rf"{file}: not a readable checkpoint \(SafetensorError: .*\); download"):
        read_state(tmp_path / file)
