"""The page of a trial, written from a run directory made by hand and met in headless Chromium."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from sklearn.metrics import roc_auc_score

from benchmark.analysis.leaderboard import build
from benchmark.stages.trial_pages import write_trial_pages
from benchmark.storage.rundir import write_csv, write_parquet
from benchmark.study.trials import trials_of
from tests.benchmark.chromium import PATIENCE, RULES
from tests.benchmark.explained import N, study_of, write_explained, write_trained

HOSTILE = "<img src=x onerror=alert(1)>.png"


def written(folder, **explain):
    """The run directory of one explained trial with its page; the first image's name is markup."""
    study = study_of(explain=explain, statistics={"resamples": 100})
    directory = write_trained(study, folder)
    write_explained(study, directory)
    renamed = pl.col("image").replace("0.png", HOSTILE)
    (trial,) = trials_of(study)
    of_trial = directory.trial(trial)
    for file in (directory.cohort, directory.vessels, directory.painted, of_trial.predictions, of_trial.saliency):
        write_parquet(file, pl.read_parquet(file).with_columns(renamed))
    no_masks = pl.when(pl.col("flags") == "no_vessels").then(pl.lit("masks cannot be read"))
    write_parquet(directory.vessels, pl.read_parquet(directory.vessels).with_columns(error=no_masks))
    history = {"epoch": [1, 2], "train_loss": [0.7, 0.6], "val_loss": [0.7, 0.65], "val_auc": [0.5, 0.75]}
    write_csv(of_trial.history, pl.DataFrame(history))
    settings = study.statistics
    board = build(directory, [trial], settings, study.explain.scaling, study.training.balance)
    run = SimpleNamespace(study=study, directory=directory, trials=lambda: [trial])
    write_trial_pages(run, board, ["Data are synthetic."], {"0": "healthy", "1": "ill"})
    return directory, of_trial


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    return written(tmp_path_factory.mktemp("run"))


@pytest.fixture
def page(browser, trial):
    """The page at a desk; what goes wrong until the end of the test fails it."""
    troubles = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    opened.on("console", lambda said: troubles.append(f"{said.type}: {said.text}"))
    opened.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    opened.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    opened.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else troubles.append(request.url)
    )
    opened.goto(trial[1].page.as_uri())
    yield opened
    context.close()
    assert not troubles


def images_of(directory, of_trial):
    """The trial's test images as its files have them, in the order of the cohort."""
    test = pl.read_parquet(directory.cohort).filter(split="test").select("image", "label")
    return test.join(pl.read_parquet(of_trial.predictions).select("image", "score"), on="image", maintain_order="left")


def files(page):
    return page.locator(".view .file").all_inner_texts()


def test_numbers_on_the_page_are_those_of_the_files(page, trial):
    images = images_of(*trial)
    validation = pl.read_parquet(trial[1].predictions).filter(split="val")
    candidates = validation["score"].to_list()
    f1 = {
        at: 2 * ((validation["score"] >= at) & (validation["label"] == 1)).sum()
        / ((validation["score"] >= at).sum() + validation["label"].sum())
        for at in candidates
    }  # fmt: skip
    rows = page.locator("#table-confusion tbody tr")
    caption = page.locator("#caption-confusion").inner_text()
    threshold = float(caption.split("threshold ")[1].split(",")[0])
    assert f1[min(candidates, key=lambda at: abs(at - threshold))] == max(f1.values())
    for label, name in ((0, "0 (healthy)"), (1, "1 (ill)")):
        scores = images.filter(label=label)["score"]
        counts = [int((scores < threshold).sum()), int((scores >= threshold).sum())]
        assert rows.nth(label).locator("th, td").all_inner_texts() == [name, *map(str, [*counts, sum(counts)])]
    assert "epoch 2 are kept" in page.inner_text("#training")


def test_images_and_patients_are_side_by_side(page, trial):
    predictions = pl.read_parquet(trial[1].predictions).filter(split="test")
    rows = page.locator("#table-levels tbody tr")
    assert rows.locator("th").all_inner_texts() == ["images", "patients, mean", "patients, maximum"]
    shown = [[rows.nth(at).locator("td").nth(of).get_attribute("data-value") for of in (0, 1)] for at in range(3)]
    assert [int(n) for n, _ in shown] == [N] + [predictions["patient_id"].n_unique()] * 2
    assert float(shown[0][1]) == pytest.approx(roc_auc_score(predictions["label"], predictions["score"]))


def test_every_test_image_is_there_with_its_map_and_masks(page, trial):
    expect(page.locator("[role=status]")).to_have_text(f"{N} of {N} images")
    assert files(page) == images_of(*trial)["image"].to_list()
    assert page.locator(".view .map").count() == N
    assert page.locator(".view .masks").count() == N - 1, "the last has none"
    page.wait_for_function("[...document.querySelectorAll('.view img')].every(one => one.complete && one.naturalWidth)")


def test_the_map_on_the_screen_is_that_of_the_study(page, trial):
    """Enlarged bilinearly from its own grid, as torch does it."""
    data = json.loads(trial[1].browser.read_text().removeprefix("window.BROWSER = ").removesuffix(";\n"))
    side = data["grid"][0]
    read = "c => [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    width, *values = page.eval_on_selector(".view canvas", read)
    pixels = np.reshape(values, (-1, width, 4))
    levels = np.frombuffer(base64.b64decode(data["maps"]), np.uint8).reshape(N, side, side)[0]
    palette = np.frombuffer(base64.b64decode(data["palette"]), np.uint8).reshape(256, 3)
    grid = torch.from_numpy(levels.astype(np.float32))[None, None]
    enlarged = torch.nn.functional.interpolate(grid, (len(pixels), width), mode="bilinear")[0, 0].numpy()
    assert np.abs(pixels[..., :3] - palette[enlarged.round().astype(int)].astype(int)).max() <= 8, "a level by rounding"


def test_sorting_and_filters_show_what_they_say_and_lie_in_the_address(page, trial):
    images = images_of(*trial)
    page.select_option("[name=sort]", "score")
    assert files(page) == images.sort("score", descending=True)["image"].to_list()
    page.select_option("[name=order]", "ascending")
    page.select_option("[name=label]", "1")
    assert files(page) == images.filter(label=1).sort("score")["image"].to_list()
    page.reload()
    assert files(page) == images.filter(label=1).sort("score")["image"].to_list(), "kept by the address"
    page.select_option("[name=label]", "")
    shown = {}
    for outcome in ("right", "wrong"):
        page.select_option("[name=outcome]", outcome)
        shown[outcome] = files(page)
    threshold = float(page.locator("#caption-confusion").inner_text().split("threshold ")[1].split(",")[0])
    right = images.filter((pl.col("score") >= threshold) == (pl.col("label") == 1))["image"]
    assert set(shown["right"]) == set(right) and len(shown["wrong"]) == N - len(right)
    page.select_option("[name=outcome]", "")
    page.fill("[name=query]", "onerror")
    assert files(page) == [HOSTILE]


def test_the_gallery_shows_the_masks_that_are_flagged(page):
    page.get_by_role("link", name="flagged as wrong").click()
    expect(page.locator("[role=status]")).to_have_text(f"1 of {N} images")
    assert page.locator(".view .fact").last.inner_text().endswith("no masks")


def test_a_keyboard_reaches_every_image_and_comes_back(page):
    first = page.locator(".view button").first
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[aria-labelledby=enlarged]")
    expect(dialog.locator("h3")).to_have_text(HOSTILE)
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("h3")).to_have_text("1.png")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".view button").nth(1)).to_be_focused()


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_accessible(page, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("document.querySelectorAll('.view li').length > 0")
    # The script places the images anew after the change of the width, in the next frame.
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, found.generate_report()


def test_without_examples_no_image_leaves_the_run(tmp_path):
    directory, of_trial = written(tmp_path, examples=0)
    assert not directory.browser.exists() and not of_trial.browser.exists()
    assert "browser.js" not in of_trial.page.read_text()


def test_images_are_not_inside_the_page(trial):
    directory, of_trial = trial
    assert of_trial.page.stat().st_size < 200_000
    assert len(list((directory.browser / "images").iterdir())) == N
    assert Image.open(directory.browser / "images" / "000000.jpg").size == (224, 224)
