"""Checkpoint files are found, read without running anything in them, and loaded key by key."""

import argparse
import hashlib
import pickle
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.weights import HubFile, WeightsError, load_strictly, read_state, require_fit, sha256


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
    assert found["args"] == arguments
    assert torch.equal(found["model"]["weight"], state["weight"])
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
    with pytest.raises(WeightsError, match=r"a\.pth: holds Python objects .* save its state dict as \.safetensors"):
        read_state(tmp_path / "a.pth")
    assert not (tmp_path / "was_run").exists()


def test_the_malicious_files_would_have_run(tmp_path):
    """Otherwise the test above would prove nothing."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "was_run")))
    assert (tmp_path / "was_run").exists()


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds Python objects"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_a_truncated_file(file, kept, tmp_path):
    (save_file if file.endswith("safetensors") else torch.save)({"weight": torch.ones(5000)}, tmp_path / file)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(WeightsError, match=rf"{file}: not a readable checkpoint .* download it again"):
        read_state(tmp_path / file)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab"])
@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_a_download_that_went_wrong(file, content, tmp_path):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{file}: not a .*download it again"):
        read_state(tmp_path / file)


def test_no_such_file(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth: no such weights file"):
        read_state(tmp_path / "absent.pth")


@pytest.mark.parametrize(("content", "kind"), [(torch.ones(2), "Tensor"), ([torch.ones(2)], "list")])
def test_something_other_than_a_state_dict(content, kind, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"a\.pth: holds a {kind}, not a state dict"):
        read_state(tmp_path / "a.pth")


def test_loading_puts_every_tensor_in_its_place(state):
    layer = nn.Linear(3, 2)
    load_strictly(layer, state, fresh=(), source=Path("a.pth"))
    assert torch.equal(layer.weight, state["weight"])
    assert torch.equal(layer.bias, state["bias"])


def test_fresh_keys_may_be_missing_and_stay_as_they_are(state):
    layer = nn.Linear(3, 2)
    bias = layer.bias.detach().clone()
    load_strictly(layer, {"weight": state["weight"]}, fresh=("bias",), source=Path("a.pth"))
    assert torch.equal(layer.weight, state["weight"])
    assert torch.equal(layer.bias, bias)


def test_every_fault_is_named_and_nothing_is_loaded(state):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    wrong = {"weight": torch.zeros(3, 3), "scale": torch.zeros(2)}
    faults = r"missing: bias; unexpected: scale; of another shape: weight \(3, 3\) for \(2, 3\)$"
    with pytest.raises(WeightsError, match=r"^a\.pth: the checkpoint does not fit the architecture; " + faults):
        load_strictly(layer, wrong, fresh=(), source=Path("a.pth"))
    assert torch.equal(layer.weight, before)


def test_a_long_list_of_faults_is_cut_short():
    state = {f"layer{number:02}": torch.zeros(1) for number in range(11)}
    with pytest.raises(WeightsError, match=r"unexpected: layer00, .*layer07 and 3 more$"):
        require_fit({}, state, fresh=(), source=Path("a.pth"))


def test_digest(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"fundus" * 100_000)
    assert sha256(tmp_path / "a.bin") == hashlib.sha256(b"fundus" * 100_000).hexdigest()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, on a machine without network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


HUB_FILE = HubFile("lab/tower", "model.safetensors")


def test_offline_and_not_in_the_cache(hub_cache):
    assert HUB_FILE.cached() is None
    with pytest.raises(WeightsError, match=r"lab/tower/model\.safetensors is not in the hub's cache.*`weights:`"):
        HUB_FILE.fetch()


def test_offline_and_in_the_cache(hub_cache):
    snapshot = hub_cache / "models--lab--tower" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    refs = hub_cache / "models--lab--tower" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    assert HUB_FILE.cached() == HUB_FILE.fetch() == snapshot / "model.safetensors"
