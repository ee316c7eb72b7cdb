"""Checkpoint files are found in folders, checked, and read without running code in them."""

import argparse
import errno
import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.checkpoint import find_checkpoint, read_state, require_digest, sha256
from backbones.loading import WeightsError


class Malicious:
    """Runs code where it is unpickled: writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def state():
    return {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth", "a.pt", "a.bin"])
def test_a_state_dict_is_read_as_it_was_written(state, tmp_path, file):
    save = save_file if file.endswith("safetensors") else torch.save
    save(state, tmp_path / file)
    found = read_state(tmp_path / file)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_the_arguments_of_a_training_script_pass(state, tmp_path):
    arguments = argparse.Namespace(model="mae_vit_large_patch16", lr=1e-3, betas=(0.9, 0.95), resume=None)
    torch.save({"model": state, "args": arguments}, tmp_path / "a.pth")
    found = read_state(tmp_path / "a.pth")
    assert found.keys() == state.keys()
    assert torch.equal(found["weight"], state["weight"])
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def with_code(path, target):
    torch.save({"weight": torch.ones(2), "extra": Malicious(target)}, path)


def with_code_in_the_old_format(path, target):
    torch.save({"extra": Malicious(target)}, path, _use_new_zipfile_serialization=False)


def with_code_in_the_arguments(path, target):
    torch.save({"args": argparse.Namespace(model="vit", hook=Malicious(target))}, path)


def with_code_in_a_bare_pickle(path, target):
    path.write_bytes(pickle.dumps({"extra": Malicious(target)}, protocol=2))


@pytest.mark.parametrize(
    "write", [with_code, with_code_in_the_old_format, with_code_in_the_arguments, with_code_in_a_bare_pickle]
)
def test_pickled_code_is_refused_and_not_run(write, tmp_path):
    write(tmp_path / "a.pth", tmp_path / "was_run")
    with pytest.raises(WeightsError, match=r"a\.pth: contains Python objects .* save its state dict as \.safetensors"):
        read_state(tmp_path / "a.pth")
    assert not (tmp_path / "was_run").exists()


def test_the_malicious_files_would_have_run(tmp_path):
    """Shows that the code in the test above would run."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "was_run")))
    assert (tmp_path / "was_run").exists()


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="contains Python objects"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("layout", [("model",), ("state_dict",), ("teacher",), ("model", "state_dict"), ("module.",)])
def test_what_a_training_script_wraps_around_a_state_dict(layout, state, tmp_path):
    content = {f"module.{key}": value for key, value in state.items()} if layout == ("module.",) else state
    for key in reversed(layout) if content is state else ():
        content = {key: content, "epoch": 7, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "a.pth")
    found = read_state(tmp_path / "a.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_a_truncated_file(file, kept, tmp_path):
    (save_file if file.endswith("safetensors") else torch.save)({"weight": torch.ones(5000)}, tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(WeightsError, match=rf"{file}: not a readable checkpoint \(.*\); download it again$") as error:
        read_state(tmp_path / file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; download it again"),
        (b"\n <!DOCTYPE html><title>Log in</title>", "a web page, not a checkpoint; download the file itself"),
        (b"<html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "a Git LFS pointer.*run `git lfs pull`"),
        (b'{"error": "Entry not found"}', "not a .*checkpoint.*; download it again"),
    ],
)
@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_a_download_that_went_wrong(file, content, message, tmp_path):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{file}: {message}"):
        read_state(tmp_path / file)


def test_a_safetensors_header_of_an_unlucky_length_is_no_web_page(tmp_path):
    """The file begins with the header's length; 15,392 in bytes is a space and a `<`."""
    metadata = {"padding": "x" * 15_300}
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors", metadata=metadata)
    metadata["padding"] += "x" * (0x3C20 - int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little"))
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors", metadata=metadata)
    assert (tmp_path / "a.safetensors").read_bytes().startswith(b" <")
    assert read_state(tmp_path / "a.safetensors").keys() == {"weight"}


@pytest.mark.parametrize(("content", "kind"), [(torch.ones(2), "Tensor"), ([torch.ones(2)], "list")])
def test_something_other_than_a_state_dict(content, kind, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"a\.pth: contains a {kind}, not a state dict"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"weight": torch.ones(2), "history": [0.5]}])
def test_a_dictionary_of_something_else(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"a\.pth: contains (nothing|.*(epoch \(int|history \(list)\)); save the model's"
    ):
        read_state(tmp_path / "a.pth")


def place(folder, *files):
    for file in files:
        (folder / file).write_bytes(b"weights")
    return folder


def test_a_file_is_found_as_it_was_named(tmp_path):
    place(tmp_path, "own.ckpt")
    assert find_checkpoint(tmp_path / "own.ckpt", ["model.safetensors"]) == tmp_path / "own.ckpt"


@pytest.mark.parametrize("names", [["model.safetensors", "model.pth"], ["absent.bin", "model.safetensors"]])
def test_a_folder_holds_a_file_under_one_of_its_names(names, tmp_path):
    place(tmp_path, "model.safetensors", "model.pth", "other.pth")
    assert find_checkpoint(tmp_path, names) == tmp_path / "model.safetensors"


def test_the_only_checkpoint_of_a_folder_is_taken(tmp_path):
    place(tmp_path, "renamed.pth", "README.md", "config.json")
    assert find_checkpoint(tmp_path, ["model.safetensors"]) == tmp_path / "renamed.pth"


def test_a_folder_of_several_or_none(tmp_path):
    with pytest.raises(WeightsError, match=r"contains no model\.bin, and no checkpoint; name the file itself"):
        find_checkpoint(tmp_path, ["model.bin"])
    place(tmp_path, "b.pth", "a.safetensors")
    with pytest.raises(
        WeightsError, match=r"contains no m\.bin or t\.pth, but several other checkpoints: a\.safetensors, b\.pth;"
    ):
        find_checkpoint(tmp_path, ["m.bin", "t.pth"])
    with pytest.raises(WeightsError, match=r"no expected file name, but several other checkpoints"):
        find_checkpoint(tmp_path, [])


def test_neither_file_nor_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth: no such weights file or folder"):
        find_checkpoint(tmp_path / "absent.pth", [])


def test_digest(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"fundus" * 100_000)
    assert sha256(tmp_path / "a.bin") == hashlib.sha256(b"fundus" * 100_000).hexdigest()


def test_another_digest_is_refused(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"fundus")
    digest = hashlib.sha256(b"fundus").hexdigest()
    require_digest(tmp_path / "a.bin", digest)
    require_digest(tmp_path / "a.bin", digest.upper())
    with pytest.raises(
        WeightsError, match=rf"its SHA-256 begins with {digest[:12]}, not 0{{12}} as expected; download .*`sha256:`"
    ):
        require_digest(tmp_path / "a.bin", "0" * 64)


def test_a_pickle_of_a_newer_protocol_is_not_damaged(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol=4))
    with pytest.raises(WeightsError, match=r"a\.pkl: contains Python objects other than tensors"):
        read_state(tmp_path / "a.pkl")


def test_a_number_that_safetensors_does_not_know_is_not_damage(tmp_path):
    header = b'{"weight":{"dtype":"NF4","shape":[2],"data_offsets":[0,8]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(WeightsError, match=r"a\.safetensors: contains numbers of an unknown type"):
        read_state(tmp_path / "a.safetensors")


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "a.pth").symlink_to(tmp_path / "gone.pth")
    with pytest.raises(
        WeightsError, match=r"a\.pth: a link to .*gone\.pth, which does not exist; name the file itself"
    ):
        find_checkpoint(tmp_path / "a.pth", [])


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Simulated, because the tests may run as a user with access to every file."""

    def refuse(path, *arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    place(tmp_path, "a.pth")
    monkeypatch.setattr(Path, "open", refuse)
    for read in (read_state, sha256, lambda path: require_digest(path, "0" * 64)):
        with pytest.raises(WeightsError, match=r"a\.pth: cannot be read \(Permission denied\); check its path"):
            read(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a\0b.pth", "x" * 300])
def test_a_path_that_cannot_be(name, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot be read|no such weights file"):
        find_checkpoint(tmp_path / name, [])


def test_a_checkpoint_in_parts(tmp_path):
    place(
        tmp_path, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"
    )
    with pytest.raises(WeightsError, match=r": a checkpoint in 2 parts; join the parts into one \.safetensors file"):
        find_checkpoint(tmp_path, ["model.safetensors"])
