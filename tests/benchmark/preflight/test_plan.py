"""The dry run: what it prints, without training, downloading or starting anything."""

import io
import re
import socket
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.preflight.calibration import Pace
from benchmark.preflight.plan import print_plan
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import load_study

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PACE = Pace(*[0.01] * 11, slowdown=1.0)
DEMO, PAPER = CONFIGS / "demo.yaml", CONFIGS / "paper.yaml"


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No connection, an empty cache of the hub, and a machine with memory to spare."""

    def refuse(*args, **options):
        raise AssertionError("the plan opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("benchmark.preflight.doctor.machine.short_memory", lambda: None)


@pytest.fixture(autouse=True)
def one_calibration(monkeypatch):
    """The pace of a machine that is not measured again in every test; test_calibration.py measures it."""
    monkeypatch.setattr("benchmark.preflight.plan.calibrate", lambda study, cohort, machine: PACE)


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


def plan_of(config: Path, cluster: str | None = None, width: int = 800, **overrides) -> str:
    text, _ = planned(config, cluster, width, **overrides)
    return text


def planned(config: Path, cluster: str | None = None, width: int = 800, out="runs/x", resume=False, **overrides):
    """What is printed, and the number of failures."""
    console = Console(file=io.StringIO(), width=width)
    failures = print_plan(load_study(config, overrides), Path(out), cluster, console, resume)
    return console.file.getvalue(), failures


def failures_of(config: Path, **options) -> list[str]:
    """The lines that begin with FAIL; as many as were counted."""
    text, count = planned(config, **options)
    lines = [line for line in text.splitlines() if line.startswith("FAIL ")]
    assert len(lines) == count
    assert ("The study cannot run" in text) == bool(count)
    return lines


def own(manifest: Path, **cohort) -> dict:
    return {"manifest": manifest, "synthetic": None, **cohort}


def test_the_demo():
    text = plan_of(DEMO, width=80)
    lines = text.splitlines()
    assert lines[0] == "demo: 9 trials, run directory runs/x"
    assert max(len(line) for line in lines if not line.startswith("WARN ")) <= 80
    trials = [line.split() for line in lines if "-s0 " in line]
    assert [trial[0] for trial in trials] == [
        f"{family}-tiny-{strategy}-s0"
        for family in ("openclip", "dinov2", "retfound")
        for strategy in ("classifier_only", "partial", "lora")
    ]
    trained = {trial[0]: int(trial[1].replace(",", "")) for trial in trials}
    assert trained["openclip-tiny-classifier_only-s0"] == 2 * 96 + 2  # width of the model, and two classes
    assert all(trial[3] == "GiB" for trial in trials)  # the process itself, above all
    stages = [line.split() for line in lines]
    names = ["start", "draw", "prepare", "segment", "embed", "train", "explain", "control", "report"]
    assert [words[0] for words in stages if words and words[0] in names and words[-1].count(":") == 1] == names
    unwrapped = " ".join(text.split())
    assert "cohort: synthetic: 400 images from 200 patients" in unwrapped
    assert "Total time: about" in unwrapped
    assert unwrapped.count("-tiny.safetensors, 1 MiB") == 3
    assert "search" not in text
    assert "train from images" not in unwrapped
    assert "vessels: masks, inside of two values the brighter, else above half of the range; " in unwrapped
    assert "The study can run here. Only `python run_benchmark.py doctor` checks whether Ray starts and" in unwrapped


def test_images_are_counted_by_split(manifest):
    text = plan_of(DEMO, cohort=own(manifest))
    counts = (
        "train 20 (10 positive, from 10 patients), val 6 (3 positive, from 3 patients), "
        "test 14 (7 positive, from 7 patients)"
    )
    assert f"cohort: {manifest}: 40 images from 40 patients; {counts}\n" in text
    assert "The test images are from 7 positive and 7 negative patients. " in text


def test_classes_and_files_that_are_left_out_of_folders(tmp_path):
    """pytorch/vision#208: the order of names decides which class is label 1, unless the user names it."""
    for split in ("train", "val", "test"):
        for name in ("glaucoma", "normal"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / name / f"{number}.jpg").touch()
            (tmp_path / split / name / "notes.txt").touch()
    text = plan_of(DEMO, cohort=own(tmp_path), vessels={"source": "wnet"})
    assert "cohort: Folders: 6 files left out: 6 with the ending .txt\n" in text
    (classes,) = (line for line in text.splitlines() if "label 1 = " in line)
    assert classes.startswith("WARN cohort: Classes: label 1 = normal (positive), label 0 = glaucoma; ")
    assert classes.endswith("--positive glaucoma")
    text = plan_of(DEMO, cohort=own(tmp_path, positive="glaucoma"), vessels={"source": "wnet"})
    assert "cohort: Classes: label 1 = glaucoma (positive), label 0 = normal\n" in text
    wrong = own(tmp_path, positive="glaucom")
    cohort, _ = failures_of(DEMO, cohort=wrong, vessels={"source": "wnet"})
    assert "classes are glaucoma and normal; did you mean glaucoma" in cohort


def test_copies_under_two_patients_are_shown_with_the_plan(manifest):
    """JunkangZhang/RetinalSegReg#4: one image under two numbers."""
    for name in ("3", "8"):
        (manifest.parent / "photos" / f"{name}.jpg").write_bytes(b"one image" * 1000)
    lines = failures_of(DEMO, cohort=own(manifest))
    copied = "row 10: image photos/8.jpg is a copy of photos/3.jpg in row 5, but of patient p8, not p3"
    assert any(line.startswith(f"FAIL cohort: {manifest}: {copied}; ") for line in lines)


def test_a_plan_for_a_cluster_names_the_machine_of_the_estimate():
    text = plan_of(DEMO, cluster="auto", backbones=["openclip-tiny"])
    assert "with --cluster, the cluster's devices share the work" in text
    assert "Only `python run_benchmark.py doctor` checks whether the cluster can be joined" in text
    assert "the cluster's devices" not in plan_of(DEMO, backbones=["openclip-tiny"])


def backbone_lines(text: str, *names: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(tuple(f"{name}: " for name in names))]


def test_gated_weights_are_named_with_the_fix_and_the_licence():
    text = plan_of(DEMO, backbones=["retfound-vit-l16"], strategies=["classifier_only"])
    (line,) = (line for line in text.splitlines() if line.startswith("WARN weights: retfound-vit-l16: "))
    assert "not here yet; will be downloaded from huggingface.co/YukunZhou/RETFound_mae_natureCFP" in line
    assert "→ accept its terms there and set HF_TOKEN, or name a local file as `weights:` of the backbone; " in line
    assert line.endswith("`doctor` asks whether it may be downloaded")


def test_every_backbone_is_shown_with_licence_and_pretraining():
    text = plan_of(DEMO, backbones=["retfound-vit-l16", "dinov2-tiny"], strategies=["classifier_only"])
    retfound, tiny = backbone_lines(text, "retfound-vit-l16", "dinov2-tiny")
    assert "pre-training: masked auto-encoding" in retfound
    assert "licence: CC BY-NC 4.0 (non-commercial)" in retfound
    assert "pre-training: self-distillation" in tiny
    assert "licence: apache-2.0" in tiny
    (untrained,) = backbone_lines(plan_of(DEMO, backbones=["dinov2-tiny-untrained"]), "dinov2-tiny-untrained")
    assert untrained == "dinov2-tiny-untrained: pre-training: none: untrained; licence: none"


def test_a_non_commercial_licence_is_highlighted(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # whatever the environment sets for colours
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), width=400, force_terminal=True, color_system="standard")
    chosen = {"backbones": ["retfound-vit-l16", "dinov2-vit-g14"], "strategies": ["classifier_only"]}
    print_plan(load_study(DEMO, chosen), Path("runs/x"), None, console)
    assert "\x1b[33mCC BY-NC" in console.file.getvalue()
    assert "\x1b[33mapache" not in console.file.getvalue()


def test_missing_weights_are_a_failure(tmp_path):
    (tmp_path / "here.safetensors").write_bytes(b"weights")
    for name, missing in {"here.safetensors": False, "gone.pth": True}.items():
        chosen = [{"name": "openclip-tiny", "weights": str(tmp_path / name)}]
        lines = failures_of(DEMO, backbones=chosen, strategies=["classifier_only"])
        assert [str(tmp_path / name) in line for line in lines] == [True] * missing


def test_trials_whose_embeddings_do_not_fit_train_from_images():
    text = plan_of(DEMO, backbones=["dinov2-tiny"], embeddings={"max_gib": 0.001})  # room for pooled features only
    (line,) = (line for line in text.splitlines() if "train from images" in line)
    assert line.startswith("WARN disk: the embeddings of dinov2-tiny-partial-s0 do not fit into embeddings.max_gib")


def test_too_little_memory_is_a_failure(monkeypatch):
    monkeypatch.setattr("benchmark.trial.costs.main_memory", lambda: 2**29)
    cheap = {"strategies": ["lora"], "training": {"batch_size": 1}}  # few smaller batches to try
    (line,) = failures_of(DEMO, backbones=["dinov2-tiny"], **cheap)
    assert line.startswith("FAIL memory: ")
    assert "dinov2-tiny-lora-s0" in line


@pytest.mark.parametrize("out", ["file", "file/below", "x" * 300])
def test_an_output_folder_that_cannot_be_written_is_a_failure(tmp_path, out):
    (tmp_path / "file").touch()
    (line,) = failures_of(DEMO, backbones=["openclip-tiny"], out=tmp_path / out)
    assert f"FAIL run directory: {tmp_path / out}: cannot be used as a run directory" in line
    assert line.endswith("→ choose another --out")


def test_every_failure_has_its_line(tmp_path):
    chosen = [{"name": "openclip-tiny", "weights": str(tmp_path / "gone.pth")}]
    (tmp_path / "file").touch()
    lines = failures_of(DEMO, backbones=chosen, vessels={"source": "mask"}, out=tmp_path / "file")
    assert [line.split(":")[0] for line in lines] == ["FAIL vessels", "FAIL run directory", "FAIL weights"]


def test_nothing_is_left_in_the_folder(tmp_path):
    planned(DEMO, out=tmp_path / "run", backbones=["openclip-tiny"])
    assert list(tmp_path.iterdir()) == []


def test_another_run_in_the_folder_is_a_failure_unless_it_is_resumed(tmp_path):
    study = load_study(DEMO, {})
    RunDirectory(tmp_path).claim(study.dump(), resume=False)
    (line,) = failures_of(DEMO, out=tmp_path)
    assert line.endswith("already holds a run → add --resume to continue it, or choose another --out")
    assert not failures_of(DEMO, out=tmp_path, resume=True)


def test_the_cost_of_a_search_is_estimated():
    text = plan_of(DEMO, backbones=["dinov2-tiny"], seeds=[0, 1], search={"candidates": 6}, training={"epochs": 7})
    (line,) = (line for line in text.splitlines() if line.strip().startswith("search "))
    assert line.split()[1:5] == ["126", "epochs", "at", "most"]  # 6 learning rates for 3 cells, 7 epochs each


@pytest.mark.parametrize(
    ("vessels", "reason"),
    [
        ({"source": "wnet"}, "vessel source 'wnet' needs weights: name the .safetensors file"),
        ({"source": "wnet", "weights": "/gone.safetensors"}, "/gone.safetensors: "),
        ({"source": "mask"}, "vessel source 'mask' is unknown; did you mean masks"),
    ],
)
def test_a_vessel_source_that_is_not_available(vessels, reason):
    (line,) = failures_of(DEMO, backbones=["openclip-tiny"], strategies=["classifier_only"], vessels=vessels)
    assert line.startswith(f"FAIL vessels: {reason}")


def test_a_few_missing_files_are_reported_and_many_are_refused(manifest):
    (manifest.parent / "photos" / "7.jpg").unlink()
    gone = manifest.parent / "photos" / "7.jpg"
    text = plan_of(DEMO, cohort=own(manifest), backbones=["openclip-tiny"])
    assert f"WARN images: 1 of 40 files are missing, the first: {gone} → relative paths start from --image-dir" in text
    lines = failures_of(DEMO, cohort=own(manifest, max_rejected=0), backbones=["openclip-tiny"])
    assert any(f"FAIL images: 1 of 40 files are missing, the first: {gone}" in line for line in lines)


def test_a_faulty_manifest_is_a_failure(manifest):
    with manifest.open("a", encoding="utf-8") as file:
        file.write("photos/1.jpg,yes,p1\n")
    line, again = failures_of(DEMO, cohort=own(manifest))
    assert "row 42: image photos/1.jpg is already listed in row 3" in again
    assert re.search(r"row 42 \(photos/1.jpg\): label is 'yes'", line)
    assert "No estimate: the cohort has faults." in plan_of(DEMO, cohort=own(manifest))


def test_a_split_with_one_class_is_a_failure(manifest):
    manifest.write_text("\n".join(manifest.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    counts = "2 have only label 0, 2 have only label 1, 0 have both"
    (line,) = failures_of(DEMO, cohort=own(manifest))
    assert re.search(f"4 patients cannot be divided .*: {counts}; add patients until three have", line)


@pytest.mark.slow
def test_the_published_study_full_size(manifest):
    """Three giant models without weights, one block of each timed."""
    text = plan_of(PAPER, cohort=own(manifest))
    assert text.startswith("paper: 9 trials")
    assert text.count("not here yet") == 3
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
    tiny = {"backbones": ["dinov2-tiny"], "strategies": ["classifier_only"]}
    assert "\nvessels: automorph_results" in plan_of(DEMO, cohort=own(manifest), vessels=settings, **tiny)
    header, *rows = manifest.read_text(encoding="utf-8").splitlines()
    (tmp_path / "photos" / "more").mkdir()
    for patient in range(40):
        (tmp_path / "photos" / "more" / f"{patient}.jpg").touch()
    rows += [
        f"photos/more/{patient}.jpg,{patient % 2},p{patient},b{patient}.png,w{patient}.png" for patient in range(40)
    ]
    manifest.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    lines = failures_of(DEMO, cohort=own(manifest), vessels=settings, **tiny)
    shared = r"FAIL vessels: photos/(\d+)\.jpg and photos/more/\1\.jpg share .* map \1\.png"
    assert any(re.match(shared, line) for line in lines)


def test_how_precise_the_test_set_can_be(manifest):
    text = " ".join(plan_of(DEMO, cohort=own(manifest)).split())
    assert "test set: 14 test patients, 7 positive: the 95 % interval of an AUC of 0.75 or 0.85 would be about" in text
    assert "calibration slope would be known to" in text
    large = " ".join(plan_of(DEMO, cohort={"synthetic": {"patients": 1000}}).split())
    assert "all images of a patient count as one" in large and "With fewer than 10" not in large
