"""The doctor: what it finds, how it judges it, and how it tells. Nothing is downloaded, trained or written."""

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmark import doctor
from benchmark.cluster import Cluster
from benchmark.config import load_study
from benchmark.costs import GIB, Machine
from benchmark.doctor import Case, Finding, Status, examine, print_findings

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "configs" / "demo.yaml"
PASS, WARN, FAIL = Status


def case(tmp_path: Path, address: str | None = None, **overrides) -> Case:
    return Case(load_study(DEMO, overrides), tmp_path / "run", address)


def statuses(findings: list[Finding]) -> list[Status]:
    return [finding.status for finding in findings]


# Python, packages, device


def test_supported_pythons_are_those_of_the_project():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    (least, below) = (tuple(map(int, part)) for part in re.findall(r"(\d+)\.(\d+)", wanted))
    assert (doctor.PYTHONS[0], doctor.PYTHONS[-1]) == (least, (below[0], below[1] - 1))


@pytest.mark.parametrize(("version", "status"), [((3, 12, 1), PASS), ((3, 10, 0), FAIL), ((3, 13, 0), FAIL)])
def test_python(version, status, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "version_info", version)
    assert statuses(doctor.check_python(case(tmp_path))) == [status]


def test_packages_are_held_against_the_lock():
    torch_version = torch.__version__.partition("+")[0]
    project = '[project]\ndependencies = ["torch", "numpy[extra]>=1"]'
    numpy_lines = f'numpy==1.0 ; python_version < "3"\nnumpy=={np.__version__} \\\n    --hash=sha256:0\n'
    (fine,) = doctor.compare_packages(project, f"torch=={torch_version} \\\n{numpy_lines}")
    assert fine.status is PASS
    assert f"all 2 as locked, torch {torch_version}" in fine.detail
    (other,) = doctor.compare_packages(project, f"torch==0.1\n{numpy_lines}")
    assert (other.status, other.detail) == (WARN, f"not as in requirements.lock: torch {torch_version} for 0.1")
    (missing,) = doctor.compare_packages('[project]\ndependencies = ["torch", "no-such-package-here"]', "torch==0.1")
    assert (missing.status, missing.detail) == (FAIL, "missing: no-such-package-here")
    assert "requirements.lock" in missing.mend


def test_the_projects_own_lock_is_understood(tmp_path):
    (finding,) = doctor.check_packages(case(tmp_path))
    assert finding.status is not FAIL
    assert " for none" not in finding.detail


def test_a_machine_without_a_gpu_is_worth_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    (finding,) = doctor.check_device(case(tmp_path))
    assert (finding.status, "no GPU" in finding.detail) == (WARN, True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (finding,) = doctor.check_device(case(tmp_path))
    assert "nvidia-smi is here" in finding.detail
    assert "driver" in finding.mend
    assert statuses(doctor.check_device(case(tmp_path, address="auto"))) == [PASS]


# Ray


def with_ray(patient: Case, **found) -> Case:
    there = {"nodes": 1, "cpus": 4, "gpus": 0, "gpu_memory": None, "accelerators": (), "is_local": True}
    vars(patient)["cluster"] = Cluster(**there | found)
    return patient


def test_ray_tells_what_it_has(tmp_path):
    (finding,) = doctor.check_ray(with_ray(case(tmp_path)))
    assert (finding.status, finding.detail) == (PASS, "starts here: 4 CPUs, no GPU")
    nodes = {"nodes": 3, "gpus": 2, "gpu_memory": 80.0, "accelerators": ("H100",), "is_local": False}
    (finding,) = doctor.check_ray(with_ray(case(tmp_path, "auto"), **nodes))
    assert (finding.status, finding.detail) == (PASS, "joined, 3 nodes: 4 CPUs, 2 GPUs (H100)")


@pytest.mark.parametrize(("is_local", "status"), [(True, FAIL), (False, WARN)])
def test_a_trial_that_asks_for_more_than_there_is_would_wait(is_local, status, tmp_path):
    greedy = case(tmp_path, resources={"cpus": 8, "gpus": 1})
    (finding,) = doctor.check_ray(with_ray(greedy, is_local=is_local))
    assert finding.status is status
    assert "asks for 8 CPUs and 1 GPUs and would wait for ever" in finding.detail
    assert "resources" in finding.mend


def test_a_cluster_that_is_not_there(tmp_path, monkeypatch):
    absent = case(tmp_path, address="127.0.0.1:1")
    (finding,) = doctor.check_ray(absent)
    assert finding.status is FAIL
    assert "no Ray cluster runs at 127.0.0.1:1: start one" in finding.detail
    monkeypatch.setattr(doctor, "CHECKS", {"memory": doctor.check_memory})
    (memory,) = examine(absent, Console(file=io.StringIO()))
    assert memory.status is WARN
    assert memory.detail.startswith("not checked: no Ray cluster")


def test_a_clusters_gpus_give_the_memory(tmp_path):
    joined = with_ray(case(tmp_path, "auto"), cpus=64, gpus=4, gpu_memory=24.0, accelerators=("A10G",), is_local=False)
    assert (joined.machine.name, joined.machine.trials) == ("A10G", 4)
    assert joined.machine.memory == pytest.approx(0.9 * 24 * GIB)


def test_a_container_with_little_shared_memory():
    assert statuses(doctor.judge_shared_memory(8 * GIB)) == [PASS]
    (finding,) = doctor.judge_shared_memory(64 * 2**20)
    assert (finding.status, "--shm-size" in finding.mend) == (WARN, True)


# Memory


@pytest.fixture
def partial_and_classifier(tmp_path):
    chosen = {"backbones": ["dinov2-tiny"], "strategies": ["classifier_only", "partial"]}
    return load_study(DEMO, {**chosen, "training": {"batch_size": 32}})


def room(gib: float, device: str = "cpu", trials: int = 1) -> Machine:
    return Machine(torch.device(device), device, trials, threads=1, memory=gib * GIB, half=False)


def test_enough_memory(partial_and_classifier):
    (finding,) = doctor.judge_memory(partial_and_classifier, room(4))
    assert finding.status is PASS
    assert "4.0 GiB of main memory a trial; all 2 cells fit with 32 images at once" in finding.detail


def test_little_memory_is_told_with_the_setting_that_fits(partial_and_classifier):
    fits, smaller = doctor.judge_memory(partial_and_classifier, room(0.78, "cuda"))
    assert (fits.status, "1 cells fit with 32 images" in fits.detail) == (PASS, True)
    assert (smaller.status, "fit dinov2-tiny-partial-s0" in smaller.detail) == (WARN, True)
    assert re.search(r"training: \{micro_batch: \d+(, checkpointing: true)?\}", smaller.mend)
    assert "by itself" in smaller.mend
    _, on_cpu = doctor.judge_memory(partial_and_classifier, room(0.78, trials=2))
    assert "ended by the system" in on_cpu.mend
    assert "fewer than 2 trials at once (resources.cpus)" in on_cpu.mend


def test_too_little_memory(partial_and_classifier):
    (finding,) = doctor.judge_memory(partial_and_classifier, room(0.5))
    assert finding.status is FAIL
    assert "0.5 GiB of main memory a trial; even one image at a time" in finding.detail
    assert "dinov2-tiny-classifier_only-s0, dinov2-tiny-partial-s0" in finding.detail


# Disk


def test_disk(tmp_path):
    (finding,) = doctor.check_disk(case(tmp_path))
    assert finding.status is PASS
    assert f"free at {tmp_path}; the study takes" in finding.detail
    assert not (tmp_path / "run").exists()


def test_a_budget_that_leaves_embeddings_out(tmp_path):
    _, finding = doctor.check_disk(case(tmp_path, embeddings={"max_gib": 0.001}, backbones=["dinov2-tiny"]))
    assert finding.status is WARN
    assert "no room for the embeddings of dinov2-tiny-partial-s0 within embeddings.max_gib (0.001)" in finding.detail


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "free_bytes", lambda path: 10 * 2**20)
    (finding,) = doctor.check_disk(case(tmp_path))
    assert (finding.status, "choose another --out" in finding.mend) == (FAIL, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    assert statuses(doctor.check_disk(case(tmp_path))) == [FAIL]


# Weights and the hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIANT = "dinov2-vit-g14"  # open
GATED = "retfound-vit-l16"


class PretendHub(BaseHTTPRequestHandler):
    """Answers what `server.answers` says for the repository: a size, or a status with the hub's error code."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        owner, name, _, _, file = self.path.strip("/").split("/", 4)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.server.asked.append((f"{owner}/{name}", file, token))
        answer = self.server.answers(f"{owner}/{name}", file, token)
        status, headers = (200, {"Content-Length": answer}) if isinstance(answer, int) else answer
        self.send_response(status)
        for key, value in {"X-Repo-Commit": COMMIT, "ETag": '"0"', "Content-Length": 0, **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and nobody's token."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()  # the client keeps the proxy it was made with
    return tmp_path / "hub"


@pytest.fixture
def hub(cache, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), PretendHub)
    server.asked, server.answers = [], lambda repository, file, token: 1000
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    point_to(server.server_address[1], monkeypatch)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(port, monkeypatch):
    constants, endpoint = huggingface_hub.constants, f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")


def weights_of(tmp_path, *backbones) -> list[Finding]:
    return doctor.check_weights(case(tmp_path, backbones=list(backbones)))


def test_untrained_towers_need_no_weights(tmp_path, hub):
    assert statuses(weights_of(tmp_path, "openclip-tiny", "dinov2-tiny")) == [PASS, PASS]
    assert hub.asked == []


def test_weights_to_be_downloaded_are_asked_for_and_not_fetched(tmp_path, hub, cache):
    (finding,) = weights_of(tmp_path, GIANT)
    assert finding.status is PASS
    assert f"{GIANT}: not here yet; 0 MiB, will be downloaded from huggingface.co/timm/vit_giant" in finding.detail
    assert not list(cache.rglob("*.safetensors"))


def test_a_revision_is_asked_for(tmp_path, hub):
    hub.answers = lambda *asked: (404, {"X-Error-Code": "RevisionNotFound"})
    (finding,) = weights_of(tmp_path, {"name": GIANT, "revision": "v9"})
    assert (finding.status, "no revision 'v9'" in finding.detail, "`revision:`" in finding.mend) == (FAIL, True, True)


def test_a_file_of_another_name(tmp_path, hub):
    """Repositories differ in whether they were given safetensors."""
    hub.answers = lambda repository, file, token: (
        (404, {"X-Error-Code": "EntryNotFound"}) if file == "model.safetensors" else 2000
    )
    found = doctor.ask_hub(doctor.HubFile("lab/tower", "model.safetensors", fallback="pytorch_model.bin"))
    assert found == 2000


def test_gated_weights_with_and_without_access(tmp_path, hub, monkeypatch):
    def answers(repository, file, token):
        return 1000 if token == "hf_granted" else (403 if token else 401, {"X-Error-Code": "GatedRepo"})

    hub.answers = answers
    (finding,) = weights_of(tmp_path, GATED)
    assert finding.status is FAIL
    assert "huggingface.co/YukunZhou/RETFound_mae_natureCFP: gated, and no token was sent (401)" in finding.detail
    assert "accept the terms" in finding.mend
    assert "as `weights:` of the backbone" in finding.mend

    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    (finding,) = weights_of(tmp_path, GATED)
    assert (finding.status, "no access (403)" in finding.detail) == (FAIL, True)

    monkeypatch.setenv("HF_TOKEN", "hf_granted")
    assert statuses(weights_of(tmp_path, GATED)) == [PASS]


def test_a_hub_that_is_out_of_order_or_reach_is_worth_a_warning(tmp_path, hub, cache, monkeypatch):
    hub.answers = lambda *asked: (503, {})
    (finding,) = weights_of(tmp_path, GIANT)
    assert (finding.status, "(503)" in finding.detail) == (WARN, True)

    point_to(1, monkeypatch)
    (finding,) = weights_of(tmp_path, GIANT)
    assert (finding.status, "cannot be reached" in finding.detail) == (WARN, True)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (finding,) = weights_of(tmp_path, GIANT)
    assert (finding.status, "HF_HUB_OFFLINE" in finding.detail) == (WARN, True)


def test_a_cache_without_room(tmp_path, hub, monkeypatch):
    hub.answers = lambda *asked: 5 * GIB
    monkeypatch.setattr(doctor, "free_bytes", lambda path: 8 * GIB)
    assert statuses(weights_of(tmp_path, GIANT)) == [PASS]
    *found, short = weights_of(tmp_path, GIANT, "openclip-vit-g14")
    assert statuses(found) == [PASS, PASS]
    assert (short.status, "10.0 GiB are to be downloaded, 8.0 GiB free" in short.detail) == (FAIL, True)
    assert "HF_HOME" in short.mend


def test_weights_in_the_cache_need_no_hub(tmp_path, hub, cache):
    folder = cache / "models--timm--vit_giant_patch14_dinov2.lvd142m"
    file = folder / "snapshots" / COMMIT / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3 * 2**20))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    (finding,) = weights_of(tmp_path, GIANT)
    assert (finding.status, finding.detail) == (PASS, f"{GIANT}: {file}, 3 MiB")
    assert hub.asked == []


def test_weights_in_a_file(tmp_path):
    file = tmp_path / "tower.safetensors"
    chosen = {"name": GATED, "weights": str(file)}
    (finding,) = weights_of(tmp_path, chosen)
    assert finding.status is FAIL
    assert str(file) in finding.detail

    file.write_bytes(b"weights")
    assert statuses(weights_of(tmp_path, chosen)) == [PASS]
    digest = hashlib.sha256(b"weights").hexdigest()
    (finding,) = weights_of(tmp_path, chosen | {"sha256": digest})
    assert (finding.status, finding.detail.endswith("SHA-256 as configured")) == (PASS, True)
    (finding,) = weights_of(tmp_path, chosen | {"sha256": "0" * 64})
    assert (finding.status, digest in finding.detail) == (FAIL, True)


def test_a_token_is_missed_only_where_it_is_needed(tmp_path, cache, monkeypatch):
    def token(*backbones):
        (finding,) = doctor.check_token(case(tmp_path, backbones=list(backbones)))
        return finding

    assert token("dinov2-tiny", GIANT).status is PASS
    assert token({"name": GATED, "weights": str(tmp_path / "own.pth")}).status is PASS
    assert token(GATED).status is WARN
    assert GATED in token(GATED).detail
    monkeypatch.setenv("HF_TOKEN", "hf_somebody")
    assert (token(GATED).status, "hf_" in token(GATED).detail) == (PASS, False)


# Cohort, photographs, vessels


@pytest.fixture
def manifest(tmp_path) -> Path:
    """40 photographs of 40 people with their masks."""
    side = np.linspace(-1, 1, 96)
    disc = (side[:, None] ** 2 + side**2 < 0.8)[..., None] * np.array([180, 90, 40])
    for person in range(40):
        Image.fromarray(disc.astype(np.uint8)).save(tmp_path / f"{person}.png")
        for vessel in "av":
            (tmp_path / f"{vessel}{person}.png").touch()
    rows = [f"{person}.png,{person % 2},p{person},a{person}.png,v{person}.png" for person in range(40)]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(["image,label,patient_id,artery_mask,vein_mask", *rows]) + "\n", encoding="utf-8")
    return path


def own(manifest: Path, **cohort) -> Case:
    return case(manifest.parent, cohort={"manifest": manifest, "synthetic": None, **cohort})


def test_a_cohort_in_order(manifest):
    patient = own(manifest)
    (cohort,) = doctor.check_cohort(patient)
    assert cohort.status is PASS
    assert "40 images of 40 people; train 20 (10 positive), val 6 (3 positive), test 14 (7 positive)" in cohort.detail
    (photographs,) = doctor.check_photographs(patient)
    assert (photographs.status, "9 of them were decoded" in photographs.detail) == (PASS, True)
    assert statuses(doctor.check_vessels(patient)) == [PASS]


def test_the_demo_draws_its_photographs(tmp_path):
    demo = case(tmp_path)
    for check in (doctor.check_cohort, doctor.check_photographs, doctor.check_vessels):
        assert statuses(check(demo)) == [PASS]


def test_every_fault_of_a_manifest_is_a_finding(manifest):
    with manifest.open("a", encoding="utf-8") as file:
        file.write("x.png,yes,p90,,\ny.png,1,,,\n")
    findings = doctor.check_cohort(own(manifest))
    assert statuses(findings) == [FAIL, FAIL]
    assert "row 42 (x.png): label is 'yes'" in findings[0].detail
    assert "row 43: patient_id is empty" in findings[1].detail


def test_a_manifest_that_is_not_there(tmp_path, monkeypatch):
    kept = {name: check for name, check in doctor.CHECKS.items() if name in ("cohort", "photographs", "disk")}
    monkeypatch.setattr(doctor, "CHECKS", kept)
    cohort, *others = examine(own(tmp_path / "gone.csv"), Console(file=io.StringIO()))
    assert (cohort.status, "no such file" in cohort.detail) == (FAIL, True)
    assert statuses(others) == [WARN, WARN]
    assert all(finding.detail.startswith("not checked: ") for finding in others)


def test_one_class_alone(manifest):
    manifest.write_text("\n".join(manifest.read_text(encoding="utf-8").splitlines()[:5]) + "\n", encoding="utf-8")
    findings = doctor.check_cohort(own(manifest))
    assert all(finding.status is FAIL for finding in findings)
    assert any("split val has no image" in finding.detail for finding in findings)


def test_photographs_that_cannot_be_read(manifest):
    patient = own(manifest)
    first = Path(patient.cohort.filter(split="test")["path"][0])
    first.write_bytes(b"no picture")
    (finding,) = doctor.check_photographs(patient)
    assert finding.status is WARN
    assert f"{first}: not a readable picture" in finding.detail
    assert "5%" in finding.mend
    for path in patient.cohort["path"]:
        Path(path).write_bytes(b"no picture")
    findings = doctor.check_photographs(patient)
    assert statuses(findings) == [FAIL] * 9
    assert [bool(finding.mend) for finding in findings] == [False] * 8 + [True]


@pytest.mark.parametrize(("allowed", "status"), [(0.05, WARN), (0, FAIL)])
def test_files_that_are_missing(allowed, status, manifest):
    (manifest.parent / "7.png").unlink()
    (finding,) = doctor.check_photographs(own(manifest, max_rejected=allowed))
    assert finding.status is status
    assert f"1 of 40 files are missing, the first: {manifest.parent / '7.png'}" in finding.detail


def test_masks_that_are_missing(manifest):
    patient = own(manifest)
    test = patient.cohort.filter(split="test")
    Path(test["vein_mask"][0]).unlink()
    _, finding = doctor.check_vessels(patient)
    assert (finding.status, finding.detail) == (WARN, "13 of 14 test images have both mask files")
    for path in test["artery_mask"]:
        Path(path).unlink()
    assert statuses(doctor.check_vessels(patient)) == [PASS, FAIL]


def test_a_vessel_network_without_weights(tmp_path):
    (finding,) = doctor.check_vessels(case(tmp_path, vessels={"source": "wnet"}))
    assert (finding.status, "needs weights" in finding.detail) == (FAIL, True)


# The whole


def test_a_check_that_breaks_down_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(case):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(doctor, "CHECKS", {"disk": broken, "Python": doctor.check_python})
    broken_down, python = examine(case(tmp_path), Console(file=io.StringIO()))
    assert broken_down.status is FAIL
    assert broken_down.what == "disk"
    assert "ZeroDivisionError: by zero" in broken_down.detail
    assert python.what == "Python"


def printed(*findings: Finding) -> tuple[list[str], int]:
    console = Console(file=io.StringIO(), width=80)
    failures = print_findings(iter(findings), console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()], failures


def test_findings_read_well_without_colours_at_80_columns():
    lines, failures = printed(
        Finding(PASS, "Python", "3.11.7"),
        Finding(WARN, "shared memory", "little [of it]", "more"),
        Finding(WARN, "disk", "/a" * 60),
        Finding(FAIL, "weights", "[red]gone[/]"),
    )
    assert failures == 1
    assert lines[0] == "PASS  Python         3.11.7"
    assert lines[1:3] == ["WARN  shared memory  little [of it]", " " * 21 + "→ more"]
    assert max(map(len, lines)) <= 80
    assert "".join(line[21:] for line in lines[3:6]) == "/a" * 60  # nothing is cut off
    assert lines[-2] == "FAIL  weights        [red]gone[/]"
    assert lines[-1] == "2 warnings, 1 failure"


def test_nothing_to_mend():
    assert printed(Finding(PASS, "Python", "3.11.7")) == (["PASS  Python         3.11.7", "Everything is in order"], 0)


@pytest.mark.slow
def test_the_demo_study_is_fit_to_run(tmp_path):
    """The command itself, in a pipe, with a Ray of its own."""
    command = [sys.executable, str(ROOT / "run_benchmark.py"), "doctor", "--out", str(tmp_path / "run")]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("demo: 9 cells")
    assert {line.split()[0] for line in lines if line[:1].isupper()} == {"PASS", "WARN"}
    assert "\x1b" not in done.stdout
    assert max(map(len, lines)) <= 80
    assert not (tmp_path / "run").exists()
