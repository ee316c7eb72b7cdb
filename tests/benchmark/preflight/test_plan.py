"""The dry run: what it prints, without decoding, training, downloading or starting anything."""

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.errors import UserError
from benchmark.preflight.plan import print_plan
from benchmark.study.config import load_study

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
DEMO, PAPER = CONFIGS / "demo.yaml", CONFIGS / "paper.yaml"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No connection, and an empty cache of the hub."""

    def refuse(*args, **options):
        raise AssertionError("the plan opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def manifest(tmp_path) -> Path:
    """40 images of 40 patients with empty files, because the plan does not decode them."""
    (tmp_path / "photos").mkdir()
    for patient in range(40):
        (tmp_path / "photos" / f"{patient}.jpg").touch()
    rows = [f"photos/{patient}.jpg,{patient % 2},p{patient},a{patient}.png,v{patient}.png" for patient in range(40)]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]) + "\n", encoding="utf-8")
    return path


def plan_of(config: Path, cluster: str | None = None, width: int = 400, **overrides) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_plan(load_study(config, overrides), Path("runs/x"), cluster, console)
    return console.file.getvalue()


def own(manifest: Path, **cohort) -> dict:
    return {"manifest": manifest, "synthetic": None, **cohort}


def test_the_demo():
    text = plan_of(DEMO, width=80)
    lines = text.splitlines()
    assert lines[0] == "demo: 9 trials, run directory runs/x"
    assert max(map(len, lines)) <= 80
    trials = [line.split() for line in lines if line.strip().endswith("-s0") or "-s0 " in line]
    assert [trial[0] for trial in trials] == [
        f"{family}-tiny-{strategy}-s0"
        for family in ("openclip", "dinov2", "retfound")
        for strategy in ("classifier_only", "partial", "lora")
    ]
    trained = {trial[0]: int(trial[1].replace(",", "")) for trial in trials}
    assert trained["openclip-tiny-classifier_only-s0"] == 2 * 96 + 2  # width of the model, and two classes
    memory = [f"{trial[2]} {trial[3]}" for trial in trials]
    assert all(value.endswith("GiB") for value in memory)  # the process itself, above all
    assert "in the synthetic cohort" in " ".join(text.split())
    assert "Device: " in text
    unwrapped = " ".join(text.split())
    assert "Total time: about" in unwrapped
    assert unwrapped.count("-tiny.safetensors, which comes with this project") == 3
    assert "Search" not in text
    assert "Train from images" not in text
    assert "Vessels: masks (inside of two values the brighter, else above half of the range; " in unwrapped
    assert "ready." in unwrapped


def test_images_are_counted_by_split(manifest):
    text = plan_of(DEMO, cohort=own(manifest))
    counts = (
        "train 20 (10 positive, from 10 patients), val 6 (3 positive, from 3 patients), "
        "test 14 (7 positive, from 7 patients)"
    )
    assert f"Images: 40 from 40 patients in {manifest}; {counts}\n" in text
    assert "Few patients: The test images are from 7 positive and 7 negative patients. " in text


def test_classes_and_files_that_are_left_out_of_folders(tmp_path):
    """pytorch/vision#208: the order of names decides which class is label 1, unless the user names it."""
    for split in ("train", "val", "test"):
        for name in ("glaucoma", "normal"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / name / f"{number}.jpg").touch()
            (tmp_path / split / name / "notes.txt").touch()
    lines = plan_of(DEMO, cohort=own(tmp_path), vessels={"source": "wnet"}).splitlines()
    assert "Folders: 6 files left out: 6 with the ending .txt" in lines
    (classes,) = (line for line in lines if "label 1 = " in line)
    assert classes.startswith("Classes: label 1 = normal (positive), label 0 = glaucoma; ")
    assert classes.endswith("--positive glaucoma")
    text = plan_of(DEMO, cohort=own(tmp_path, positive="glaucoma"), vessels={"source": "wnet"})
    assert "Classes: label 1 = glaucoma (positive), label 0 = normal\n" in text
    with pytest.raises(UserError, match="classes are glaucoma and normal; did you mean glaucoma"):
        plan_of(DEMO, cohort=own(tmp_path, positive="glaucom"), vessels={"source": "wnet"})


def test_copies_under_two_patients_are_shown_with_the_plan(manifest):
    """JunkangZhang/RetinalSegReg#4: one image under two numbers."""
    for name in ("3", "8"):
        (manifest.parent / "photos" / f"{name}.jpg").write_bytes(b"one image" * 1000)
    text = plan_of(DEMO, cohort=own(manifest))
    copied = "row 10: image photos/8.jpg is a copy of photos/3.jpg in row 5, but of patient p8, not p3"
    assert f"The run would not start: {manifest}: {copied}; " in text
    assert "Images: 40 from 40 patients" in text


def test_a_plan_for_a_cluster_names_the_machine_of_the_estimate():
    assert "--cluster" in plan_of(DEMO, cluster="auto", backbones=["openclip-tiny"])
    assert "--cluster" not in plan_of(DEMO, backbones=["openclip-tiny"])


def backbone_lines(text: str, *names: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(tuple(f"{name}: " for name in names))]


def test_gated_weights_are_named_with_the_fix_and_the_licence():
    text = plan_of(DEMO, backbones=["retfound-vit-l16"], strategies=["classifier_only"])
    (line,) = backbone_lines(text, "retfound-vit-l16")
    assert "missing here" in line
    assert "huggingface.co/YukunZhou/RETFound_mae_natureCFP" in line
    assert "gated: accept its terms there and set HF_TOKEN; or name a local file as `weights:`" in line


def test_every_backbone_is_shown_with_licence_and_pretraining():
    text = plan_of(DEMO, backbones=["retfound-vit-l16", "dinov2-tiny"], strategies=["classifier_only"])
    retfound, tiny = backbone_lines(text, "retfound-vit-l16", "dinov2-tiny")
    assert "pre-training: masked auto-encoding" in retfound
    assert "licence: CC BY-NC 4.0 (non-commercial)" in retfound
    assert "pre-training: self-distillation" in tiny
    assert "licence: apache-2.0" in tiny
    (untrained,) = backbone_lines(plan_of(DEMO, backbones=["dinov2-tiny-untrained"]), "dinov2-tiny-untrained")
    assert "pre-training: none: untrained; licence: none; weights: untrained, none needed" in untrained


def test_a_non_commercial_licence_is_highlighted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # whatever the environment sets for colours
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system="standard")
    chosen = {"backbones": ["retfound-vit-l16", "dinov2-vit-g14"], "strategies": ["classifier_only"]}
    print_plan(load_study(DEMO, chosen), Path("runs/x"), None, console)
    assert "\x1b[33mCC BY-NC" in console.file.getvalue()
    assert "\x1b[33mapache" not in console.file.getvalue()


def test_a_file_of_weights_is_looked_for(tmp_path):
    (tmp_path / "here.pth").touch()
    for name, held in {"here.pth": " found", "gone.pth": ""}.items():
        chosen = [{"name": "openclip-tiny", "weights": str(tmp_path / name)}]
        (line,) = backbone_lines(plan_of(DEMO, backbones=chosen, strategies=["classifier_only"]), "openclip-tiny")
        assert f"{tmp_path / name}{held}" in line
        assert line.endswith(" found") == bool(held)


def test_trials_whose_embeddings_do_not_fit_train_from_images():
    text = plan_of(DEMO, backbones=["dinov2-tiny"], embeddings={"max_gib": 0.001})  # room for pooled features only
    (line,) = (line for line in text.splitlines() if line.startswith("Train from images"))
    assert line.endswith(": dinov2-tiny-partial-s0")
    assert "embeddings.max_gib" in line


def test_trials_beyond_the_memory_are_named(monkeypatch):
    monkeypatch.setattr("benchmark.trial.costs.main_memory", lambda: 2**30)
    text = plan_of(DEMO, backbones=["dinov2-tiny"])
    (line,) = (line for line in text.splitlines() if line.startswith("More memory"))
    assert "dinov2-tiny-lora-s0" in line
    assert "doctor" in line


def test_the_cost_of_a_search_is_estimated():
    text = plan_of(DEMO, backbones=["dinov2-tiny"], seeds=[0, 1], search={"candidates": 6}, training={"epochs": 7})
    assert "Search: 6 learning rates for each of 3 cells, at most 42 epochs per cell" in text
    assert "more." in text.split("at most")[-1]


@pytest.mark.parametrize(
    ("vessels", "reason"),
    [
        ({"source": "wnet"}, "vessel source 'wnet' needs weights: name the .safetensors file"),
        ({"source": "wnet", "weights": "/gone.safetensors"}, "/gone.safetensors: "),
        ({"source": "mask"}, "vessel source 'mask' is unknown; did you mean masks"),
    ],
)
def test_a_vessel_source_that_is_not_available(vessels, reason):
    text = plan_of(DEMO, backbones=["openclip-tiny"], strategies=["classifier_only"], vessels=vessels)
    assert f"vessels: {reason}" in text.splitlines()[-1]
    assert "ready" not in text


def test_a_few_missing_files_are_reported_and_many_are_refused(manifest):
    (manifest.parent / "photos" / "7.jpg").unlink()
    gone = manifest.parent / "photos" / "7.jpg"
    text = plan_of(DEMO, cohort=own(manifest), backbones=["openclip-tiny"])
    assert f"files missing: 1, the first: {gone}" in text
    with pytest.raises(
        UserError, match=f"^1 of 40 image files are missing, the first: {gone}; relative paths start fr"
    ):
        plan_of(DEMO, cohort=own(manifest, max_rejected=0))


def test_a_faulty_manifest_is_refused(manifest):
    with manifest.open("a", encoding="utf-8") as file:
        file.write("photos/1.jpg,yes,p1\n")
    with pytest.raises(UserError, match=r"row 42 \(photos/1.jpg\): label is 'yes'"):
        plan_of(DEMO, cohort=own(manifest))


def test_a_split_with_one_class_is_refused(manifest):
    manifest.write_text("\n".join(manifest.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    counts = "2 have only label 0, 2 have only label 1, 0 have both"
    with pytest.raises(UserError, match=f"^4 patients cannot be divided .*: {counts}; add patients until three have"):
        plan_of(DEMO, cohort=own(manifest))


@pytest.mark.slow
def test_the_published_study_full_size(manifest):
    """Three giant models without weights, one block of each timed."""
    text = plan_of(PAPER, cohort=own(manifest))
    assert text.startswith("paper: 9 trials")
    assert text.count("missing here") == 3
    assert " h" in text.split("Total time: about")[1].split(",")[0]
    trained = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in text.splitlines() if "-s0 " in line}
    assert trained["openclip-vit-g14-classifier_only-s0"] == 2 * 1408 + 2
    attention = 40 * 8 * ((1536 + 3 * 1536) + (1536 + 1536))  # rank 8 on qkv and proj of every block
    assert trained["dinov2-vit-g14-lora-s0"] == attention + 2 * 1536 + 2


def results_of_automorph(folder: Path, *names: str) -> dict:
    """A finished run of AutoMorph without its crops, and the settings that name it."""
    (folder / "M0").mkdir(parents=True)
    (folder / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    rows = [f"{name}.png,40,55,36,0.1,78.9" for name in names]
    (folder / "M0" / "crop_info.csv").write_text("\n".join(["Name,centre_w,centre_h,radius", *rows]) + "\n")
    return {"source": "automorph_results", "weights": folder}


def test_images_that_share_a_map_of_automorph(manifest, tmp_path):
    """rmaphoh/AutoMorph#14: OD/1.jpg and OS/1.jpg both received the map of 1.png."""
    settings = results_of_automorph(tmp_path / "Results", *(str(patient) for patient in range(40)))
    assert "Vessels: automorph_results" in plan_of(PAPER, cohort=own(manifest), vessels=settings)
    header, *rows = manifest.read_text(encoding="utf-8").splitlines()
    (tmp_path / "photos" / "more").mkdir()
    for patient in range(40):
        (tmp_path / "photos" / "more" / f"{patient}.jpg").touch()
    rows += [
        f"photos/more/{patient}.jpg,{patient % 2},p{patient},b{patient}.png,w{patient}.png" for patient in range(40)
    ]
    manifest.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^vessels: photos/(\d+)\.jpg and photos/more/\1\.jpg share .* map \1\.png"):
        plan_of(PAPER, cohort=own(manifest), vessels=settings)


def test_how_precise_the_test_set_can_be(manifest):
    text = " ".join(plan_of(DEMO, cohort=own(manifest)).split())
    assert "Test set: 14 test patients, 7 positive: the 95 % interval of an AUC of 0.75 or 0.85 would be about" in text
    assert "calibration slope would be known to" in text
    large = " ".join(plan_of(DEMO, cohort={"synthetic": {"patients": 1000}}).split())
    assert "all images of a patient count as one" in large and "Few patients" not in large
