import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file
from torch import nn

from xai.vessels import FundusImage, open_source
from xai.vessels.bfnet import BFNet, BFNetSource, load_member

FILES = {"main": "CP_best_F1_all", "artery": "CP_best_F1_A", "vein": "CP_best_F1_V"}
SIZES = ["x64x64", "x80x96"]


@pytest.fixture(scope="module")
def fixtures(shared):
    return shared / "fixtures" / "bfnet_tiny"


@pytest.fixture(scope="module")
def ensemble(fixtures, tmp_path_factory):
    """The reference members in AutoMorph's layout, two of three as .pth."""
    root = tmp_path_factory.mktemp("M2_Artery_vein") / "ALL-AV"
    for member, seed in enumerate((28, 30, 32)):
        folder = root / f"20210724_ALL-AV_randomseed_{seed}" / "Discriminator_unet"
        folder.mkdir(parents=True)
        for network, name in FILES.items():
            state = load_tensors(fixtures / f"member{member}_{network}.safetensors")
            if member:
                torch.save(state, folder / f"{name}.pth")
            else:
                save_file(state, folder / f"{name}.safetensors")
    return root


@pytest.fixture(scope="module")
def member(ensemble):
    return ensemble / "20210724_ALL-AV_randomseed_28" / "Discriminator_unet"


@pytest.fixture
def editable(member, tmp_path):
    """A member's folder to damage."""
    return shutil.copytree(member, tmp_path / "member")


@pytest.mark.parametrize("network", ["main", "artery", "vein"])
def test_names_and_shapes_are_those_of_the_published_weights(fixtures, network):
    published = json.loads((fixtures / "keys_shapes_32.json").read_text())["main" if network == "main" else "branch"]
    with torch.device("meta"):
        state = BFNet(32).get_submodule(network).state_dict()
    found = {key: (list(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in state.items()}
    training_only = ("S1.", "S2.", "S3.")
    assert found == {
        key: (value["shape"], value["dtype"]) for key, value in published.items() if not key.startswith(training_only)
    }


@pytest.mark.parametrize("size", SIZES)
def test_a_members_logits_are_upstreams(member, fixtures, size):
    expected = load_file(fixtures / "forward.safetensors")
    bfnet = load_member(member)
    x = torch.from_numpy(expected[f"{size}.input"])
    with torch.inference_mode():
        np.testing.assert_allclose(bfnet(x), expected[f"{size}.member0.main_logits"], rtol=0, atol=2e-5)
        for branch in ("artery", "vein") if size == "x64x64" else ():
            network = bfnet.get_submodule(branch)
            features = network(x)
            np.testing.assert_allclose(features, expected[f"{size}.member0.{branch}_features"], rtol=0, atol=2e-5)
            logits = network.outc["conv"](features)
            np.testing.assert_allclose(logits, expected[f"{size}.member0.{branch}_logits"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_ensembles_mean_and_deviation_are_upstreams(ensemble, fixtures, size):
    expected = load_file(fixtures / "forward.safetensors")
    mean, deviation = BFNetSource(ensemble).probabilities(expected[f"{size}.input"])
    np.testing.assert_allclose(mean, expected[f"{size}.ensemble_mean"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(deviation, expected[f"{size}.ensemble_std"], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(mean.argmax(axis=1), expected[f"{size}.ensemble_argmax"])


class Stub(nn.Module):
    """Predicts artery where green is low, vein where blue is low, uncertain where both are, background outside."""

    def forward(self, x):
        red, green, blue = (x < -0.5 * x.abs().amax(dim=(2, 3), keepdim=True)).unbind(dim=1)
        labels = torch.where(red, 0, green + 2 * blue)
        return 10 * nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()


class Constant(nn.Module):
    """The same probability of artery everywhere."""

    def __init__(self, artery):
        super().__init__()
        self.logits = torch.tensor([1 - artery, artery, 1e-9, 1e-9]).log()

    def forward(self, x):
        return self.logits[:, None, None].expand(len(x), 4, *x.shape[2:])


def drawn(shape, centre, radius):
    """An image of a disc with bars of known class, and the (H, W) classes."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = np.hypot(y - centre[0], x - centre[1]) <= radius
    inner = np.hypot(y - centre[0], x - centre[1]) <= 0.9 * radius
    artery = inner & (abs(x - centre[1] + 31) < 7)
    vein = inner & (abs(y - centre[0] - 23) < 9)
    labels = artery + 2 * vein.astype(int)
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[disc] = (180, 90, 60)
    rgb[artery, 1] = 20
    rgb[vein, 2] = 0
    return FundusImage(rgb, disc, {"image": "drawn.png"}), labels


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


PICTURES = [
    pytest.param((260, 400), (130, 170), 110, id="whole"),
    pytest.param((230, 400), (100, 210), 140, id="cut above and below"),
    pytest.param((330, 300), (150, 120), 140, id="cut at the left"),
]


@pytest.mark.parametrize(("shape", "centre", "radius"), PICTURES)
def test_masks_lie_on_the_images_own_pixels(member, shape, centre, radius):
    image, labels = drawn(shape, centre, radius)
    source = BFNetSource(member, 320)
    source.members = [Stub(), Stub()]
    (masks,) = source.segment([image])
    sideways, upright = ((0, 3), (0, -3)), ((3, 0), (-3, 0))
    expected = ((masks.artery, 1, sideways), (masks.vein, 2, upright), (masks.uncertain, 3, sideways + upright))
    for mask, label, shifts in expected:
        assert mask.shape == shape
        found = dice(mask, labels == label)
        assert found >= 0.93
        for shift in shifts:
            assert dice(np.roll(mask, shift, (0, 1)), labels == label) < found - 0.08


def test_images_of_a_batch_do_not_mix(ensemble):
    images = [drawn(*(parameter.values))[0] for parameter in PICTURES]
    source = open_source("bfnet", ensemble, 64)
    together = source.segment(images)
    for image, masks in zip(images, together, strict=True):
        (alone,) = source.segment([image])
        for name in ("artery", "vein", "uncertain"):
            np.testing.assert_array_equal(getattr(masks, name), getattr(alone, name))
        assert masks.disagreement == alone.disagreement
        assert 0 < masks.disagreement < 0.5
    assert len({masks.disagreement for masks in together}) == 3
    assert source.segment([]) == []


def test_disagreement_is_the_deviation_of_the_chosen_class_over_vessels(member):
    image, _ = drawn((260, 400), (130, 170), 110)
    source = BFNetSource(member, 64)
    source.members = [Constant(0.6), Constant(0.9)]
    assert source.segment([image])[0].disagreement == pytest.approx(0.15, abs=1e-5)
    source.members = [Constant(0.1), Constant(0.2)]
    assert source.segment([image])[0].disagreement is None  # no vessels
    source.members = [Constant(0.9)]
    assert source.segment([image])[0].disagreement is None  # nobody to disagree with


def test_the_size_it_was_trained_at_is_the_default(member):
    assert BFNetSource(member).size == 720


@pytest.mark.parametrize("size", [0, 8, 500])
def test_another_size_is_a_multiple_of_16(member, size):
    with pytest.raises(ValueError, match=f"multiple of 16, not {size}"):
        open_source("bfnet", member, size)


def test_provenance_names_the_members(ensemble):
    provenance = open_source("bfnet", ensemble).provenance
    assert provenance["name"] == "bfnet"
    assert (provenance["weights"], provenance["members"], provenance["size"]) == ("ALL-AV", "3", "720")
    assert provenance["folders"].startswith("20210724_ALL-AV_randomseed_28/Discriminator_unet, ")


def test_provenance_changes_with_the_weights(member, editable):
    before = open_source("bfnet", editable).provenance
    assert before["members"] == "1"
    assert before["sha256"] == open_source("bfnet", member).provenance["sha256"]
    file = editable / "CP_best_F1_V.safetensors"
    save_file({key: value + 1 for key, value in load_tensors(file).items()}, file)
    assert open_source("bfnet", editable).provenance["sha256"] != before["sha256"]


def test_an_image_without_an_eye_is_named(member):
    image = FundusImage(np.zeros((90, 120, 3), np.uint8), np.ones((90, 120), bool), {"image": "black.jpg"})
    with pytest.raises(ValueError, match=r"black\.jpg: .* shows no rim"):
        open_source("bfnet", member, 64).segment([image])


def test_weights_are_needed():
    with pytest.raises(ValueError, match="'bfnet' needs weights"):
        open_source("bfnet")


@pytest.mark.parametrize("name", ["empty", "gone"])
def test_a_folder_without_members_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"{name}: no CP_best_F1_all\.pth or \.safetensors below it"):
        open_source("bfnet", tmp_path / name)


def test_a_member_that_lacks_a_file_is_named(editable):
    (editable / "CP_best_F1_V.safetensors").unlink()
    with pytest.raises(ValueError, match=r"member: no CP_best_F1_V\.pth"):
        open_source("bfnet", editable)


def rename(state):
    state["other"] = state.pop("outc.conv.bias")


def widen(state):
    state["up4.add.activation.0.weight"] = torch.ones(3)


def truncate(state):
    del state["inc.double_conv.0.weight"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, r"missing: outc\.conv\.bias; unexpected: other"),
        (widen, r"another shape: up4\.add\.activation\.0\.weight \(3,\) instead of \(2,\)"),
        (truncate, r"inc\.double_conv\.0\.weight is missing"),
    ],
)
def test_another_networks_weights_are_refused_with_the_names(editable, change, message):
    file = editable / "CP_best_F1_all.safetensors"
    state = load_tensors(file)
    change(state)
    save_file(state, file)
    with pytest.raises(ValueError, match=rf"CP_best_F1_all\.safetensors: .*{message}"):
        open_source("bfnet", editable)


class Code:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"no tensors", pickle.dumps(Code(), protocol=2)])
def test_an_unreadable_file_is_named_and_never_run(editable, content, capsys):
    (editable / "CP_best_F1_A.safetensors").unlink()
    (editable / "CP_best_F1_A.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"CP_best_F1_A\.pth: "):
        open_source("bfnet", editable)
    assert capsys.readouterr().out == ""
