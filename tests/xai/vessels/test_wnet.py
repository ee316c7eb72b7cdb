import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from skimage.transform import resize

from xai.vessels import FundusImage, open_source
from xai.vessels.wnet import WNet, WNetSource, convert_wnet, load_wnet, network_input, to_masks

BACKGROUND, ARTERY, VEIN = range(3)


@pytest.fixture
def wnet_av(shared):
    return shared / "fixtures" / "wnet_av"


def picture(path):
    return np.asarray(Image.open(path))


def as_batch(rgb):
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255


def labels(masks):
    return np.where(masks.artery, ARTERY, np.where(masks.vein, VEIN, BACKGROUND))


def upstream_image(wnet_av, rgb, name):
    """An image with upstream's own field of view: the disc in the crop box of the fixture's manifest."""
    manifest = json.loads((wnet_av / "manifest.json").read_text())["images"][name]
    width, height = manifest["original_wh"]
    top, left, bottom, right = manifest["crop_minr_minc_maxr_maxc"]
    disc = picture(wnet_av / f"fov_{name}_div8.png") > 0
    fov = disc.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    fov = np.pad(fov, ((0, height - fov.shape[0]), (0, width - fov.shape[1])), mode="edge")
    box = np.zeros_like(fov)
    box[top:bottom, left:right] = True
    fov &= box
    fov[[top, bottom - 1], (left + right) // 2] = True  # the box survives the disc's coarse outline
    fov[(top + bottom) // 2, [left, right - 1]] = True
    return FundusImage(np.zeros((height, width, 3), np.uint8) if rgb is None else rgb, fov, {"image": name})


@pytest.mark.parametrize("model", ["drive", "hrf"])
def test_logits_of_both_u_nets_on_a_patch(wnet_av, model):
    network, _ = load_wnet(wnet_av / f"wnet_{model}.safetensors")
    patch = load_file(wnet_av / "patch64.safetensors")
    batch = as_batch(patch["input_uint8"])
    with torch.inference_mode():
        first, last = network.unet1(batch), network(batch)
    np.testing.assert_allclose(first[0].numpy(), patch[f"{model}.unet1_logits"], rtol=0, atol=2e-4)
    np.testing.assert_allclose(last[0].numpy(), patch[f"{model}.logits"], rtol=0, atol=2e-4)


CASES = [
    pytest.param("drive", "1", 512),
    pytest.param("hrf", "1", 512),
    pytest.param("drive", "11", 512, marks=pytest.mark.slow),
    pytest.param("drive", "100", 512, marks=pytest.mark.slow),
    pytest.param("hrf", "11", 512, marks=pytest.mark.slow),
    pytest.param("hrf", "100", 512, marks=pytest.mark.slow),
    pytest.param("hrf", "1", 1024, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "name", "size"), CASES)
def test_logits_probabilities_and_labels_are_upstreams(wnet_av, model, name, size):
    source = WNetSource(wnet_av / f"wnet_{model}.safetensors", size)
    rgb = picture(wnet_av / f"input_{name}_{size}.png")
    expected = load_file(wnet_av / f"out_{model}_{name}_{size}.safetensors")
    stride = 4 if model == "drive" else 8

    with torch.inference_mode():
        logits = source.model(as_batch(rgb))[0].numpy()
    np.testing.assert_allclose(logits[:, ::stride, ::stride], expected[f"logits_s{stride}"], rtol=0, atol=2e-4)
    argmax = picture(wnet_av / f"argmax4_{model}_{name}_{size}.png")
    assert (logits.argmax(axis=0) != argmax).sum() <= 5

    found = source.probabilities(rgb[None])[0]
    background, uncertain, artery, vein = expected[f"probs_tta_s{stride}"]
    shared_out = np.stack([background, artery + uncertain / 2, vein + uncertain / 2])
    np.testing.assert_allclose(found[:, ::stride, ::stride], shared_out, rtol=0, atol=5e-5)
    label = picture(wnet_av / f"label3_tta_{model}_{name}_{size}.png")
    assert (found.argmax(axis=0) != label).sum() <= 5


@pytest.mark.parametrize(
    "name", ["11", pytest.param("1", marks=pytest.mark.slow), pytest.param("100", marks=pytest.mark.slow)]
)
def test_labels_at_the_images_size_are_upstreams(wnet_av, name):
    source = WNetSource(wnet_av / "wnet_drive.safetensors")
    image = upstream_image(wnet_av, None, name)
    (maps,) = source.probabilities(picture(wnet_av / f"input_{name}_512.png")[None])
    found = labels(to_masks(maps, image.fov))
    expected = picture(wnet_av / f"label3_native_drive_{name}_512.png")
    assert found.shape == expected.shape
    assert (found != expected).mean() <= 2e-4


def test_network_input_is_upstreams(wnet_av, shared):
    rgb = picture(shared / "data" / "automorph_example" / "images" / "1.png")
    image = upstream_image(wnet_av, rgb, "1")
    np.testing.assert_array_equal(network_input(image, 512), picture(wnet_av / "input_1_512.png"))


def test_segment_gives_masks_of_each_image_inside_its_field_of_view(wnet_av):
    rgb = picture(wnet_av / "input_11_512.png")
    y, x = np.mgrid[:512, :512]
    disc = (y - 256) ** 2 + (x - 256) ** 2 < 250**2
    wide = FundusImage(rgb, disc, {"image": "a"})
    cut = FundusImage(rgb[100:400], disc[100:400], {"image": "b"})
    source = open_source("wnet", wnet_av / "wnet_drive.safetensors", 256)
    first, second = source.segment([wide, cut])
    for image, masks in ((wide, first), (cut, second)):
        assert masks.artery.shape == masks.vein.shape == image.fov.shape
        assert not ((masks.artery | masks.vein) & ~image.fov).any()
        assert not (masks.artery & masks.vein).any()
        assert not masks.uncertain.any()
        assert 0.01 < masks.artery.mean() < 0.2
        assert 0.01 < masks.vein.mean() < 0.2
    np.testing.assert_array_equal(source.segment([cut])[0].vein, second.vein)
    assert source.segment([]) == []


def test_a_small_image_is_not_enlarged_unless_a_size_is_asked_for(wnet_av):
    image = FundusImage(
        picture(wnet_av / "input_11_512.png")[100:225, 100:220], np.ones((125, 120), bool), {"image": "a"}
    )
    found, same, enlarged = (
        WNetSource(wnet_av / "wnet_drive.safetensors", size).segment([image])[0].vein for size in (None, 120, 192)
    )
    assert found.any()
    np.testing.assert_array_equal(found, same)
    assert (found != enlarged).any()


def test_a_large_image_is_reduced_to_the_size_of_training(wnet_av):
    rgb = picture(wnet_av / "input_11_512.png").repeat(2, axis=0).repeat(2, axis=1)
    image = FundusImage(rgb, np.ones(rgb.shape[:2], bool), {"image": "a"})
    found, expected = (
        WNetSource(wnet_av / "wnet_drive.safetensors", size, flips=False).segment([image])[0].vein
        for size in (None, 512)
    )
    assert found.any()
    np.testing.assert_array_equal(found, expected)


def test_without_flips_the_masks_are_nearly_the_same(wnet_av):
    rgb = picture(wnet_av / "input_11_512.png")[None, 128:384, 128:384]
    averaged = WNetSource(wnet_av / "wnet_drive.safetensors").probabilities(rgb)
    single = WNetSource(wnet_av / "wnet_drive.safetensors", flips=False).probabilities(rgb)
    changed = (averaged.argmax(axis=1) != single.argmax(axis=1)).mean()
    assert 0 < changed < 0.03


@pytest.mark.parametrize("shape", [(150, 97), (40, 64), (64, 50)])
def test_masks_follow_a_cubic_spline_resize(shape):
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(3 * rng.normal(size=(3, 64, 64))).float().softmax(dim=0).numpy()
    expected = resize(maps.transpose(1, 2, 0), shape, order=3).argmax(axis=2)
    found = labels(to_masks(maps, np.ones(shape, dtype=bool)))
    assert (found != expected).mean() <= 1e-3


def test_provenance_names_the_weights(wnet_av):
    source = open_source("wnet", wnet_av / "wnet_hrf.safetensors")
    assert source.provenance["name"] == "wnet"
    assert source.provenance["weights"] == "wnet_hrf.safetensors"
    assert source.provenance["size"] == "1024 or the image's"
    assert len(source.provenance["sha256"]) == 64
    assert "vessel ratio" in source.provenance["caution"], "a reader must know that arteries and veins are confused"


def test_weights_are_needed():
    with pytest.raises(ValueError, match="'wnet' needs weights"):
        open_source("wnet")


def test_another_networks_weights_are_refused_with_the_names(wnet_av, tmp_path):
    state = load_file(wnet_av / "wnet_drive.safetensors")
    state["unet3.final.bias"] = state.pop("unet2.final.bias")
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match=r"other\.safetensors.*missing.*unet2\.final\.bias.*unexpected.*unet3"):
        open_source("wnet", path, 512)


def test_weights_of_another_width_are_refused(wnet_av, tmp_path):
    state = load_file(wnet_av / "wnet_drive.safetensors")
    state["unet1.final.weight"] = state["unet1.final.weight"][:3].copy()
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"unet1\.final\.weight \(3, 8, 1, 1\)"):
        open_source("wnet", tmp_path / "other.safetensors", 512)


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_an_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors: cannot be read as safetensors"):
        open_source("wnet", path)


def test_the_size_must_be_known_and_a_multiple_of_8(wnet_av, tmp_path):
    with pytest.raises(ValueError, match="multiple of 8, not 500"):
        open_source("wnet", wnet_av / "wnet_drive.safetensors", 500)
    save_file(load_file(wnet_av / "wnet_drive.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="give a size"):
        open_source("wnet", tmp_path / "bare.safetensors")


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_is_converted_with_its_size(tmp_path, wrapped):
    """As upstream keeps it: the state dict next to that of the optimiser, and `config.cfg` in the same folder."""
    state = WNet().state_dict()
    whole = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}}} if wrapped else state
    torch.save(whole, tmp_path / "model_checkpoint.pth")
    (tmp_path / "config.cfg").write_text('{"im_size": "1024"}')
    assert convert_wnet(tmp_path / "model_checkpoint.pth", tmp_path / "wnet.safetensors") == 1024
    model, size = load_wnet(tmp_path / "wnet.safetensors")
    assert size == 1024
    torch.testing.assert_close(dict(model.state_dict()), dict(state), rtol=0, atol=0)


@pytest.mark.parametrize("config", [None, "no JSON", '{"im_size": "512,600"}', "{}"])
def test_a_size_that_nobody_states_is_not_known(tmp_path, config):
    torch.save(WNet().state_dict(), tmp_path / "a.pth")
    if config is not None:
        (tmp_path / "config.cfg").write_text(config)
    assert convert_wnet(tmp_path / "a.pth", tmp_path / "b.safetensors") is None
    assert load_wnet(tmp_path / "b.safetensors")[1] is None
    assert convert_wnet(tmp_path / "a.pth", tmp_path / "c.safetensors", size=512) == 512
    assert load_wnet(tmp_path / "c.safetensors")[1] == 512


def test_what_is_not_a_wnet_or_holds_code_is_not_converted(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    torch.save({"model_state_dict": WNet().state_dict(), "stats": Code()}, tmp_path / "code.pth")
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name, reason in (("code", "Python objects other than tensors"), ("other", "not the weights of a W-Net")):
        with pytest.raises(ValueError, match=reason):
            convert_wnet(tmp_path / f"{name}.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "run").exists() and not (tmp_path / "out.safetensors").exists()
