"""What would keep a study from running, or make it slow: `doctor`. No cell runs, and nothing is written in --out.

Every check is a function that returns what it finds; `CHECKS` lists them. Nothing is downloaded: the hub is only asked.
"""

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import huggingface_hub
import polars as pl
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled, RemoteEntryNotFoundError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import backbones
from backbones import HubFile
from benchmark.cells import Cell, cells_of
from benchmark.cluster import Cluster, connect
from benchmark.config import BackboneChoice, Study
from benchmark.costs import (
    GIB,
    Machine,
    cached_blocks,
    disk_bytes,
    existing_parent,
    footprint_on,
    free_bytes,
    memory,
    on_gpus,
    readable_bytes,
    this_machine,
    trains_from_images,
)
from benchmark.errors import UserError
from benchmark.manifest import SPLITS
from benchmark.photos import crop_row
from benchmark.plan import expected_cohort, images_by_split
from benchmark.progress import screen_apart_from
from benchmark.stages.segment import open_vessels
from benchmark.weights import find_weights

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 12))
MAIN_PACKAGES = ("ray", "torch", "timm", "peft", "polars")
ANSWER_SECONDS = 5.0  # of the hub
SAMPLE = 3  # photographs of each split
SHARED_MEMORY = 2 * GIB  # what Ray's object store wants at least; a container has 64 MiB unless it is told otherwise


class Status(StrEnum):
    """How a finding is to be taken: fine, worth knowing, or in the way of the study."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; `mend` says what to do, where something is to be done."""

    status: Status
    what: str
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Case:
    """What is examined, and what several checks want to know of it."""

    study: Study
    out: Path
    address: str | None = None

    @cached_property
    def cohort(self) -> pl.DataFrame:
        return expected_cohort(self.study)

    @cached_property
    def cluster(self) -> Cluster:
        """What Ray has to work with; it is left again at once."""
        with tempfile.TemporaryDirectory() as scratch, connect(self.address, log_file=Path(scratch) / "ray.log") as ray:
            return ray

    @cached_property
    def machine(self) -> Machine:
        if self.address is None or not self.cluster.gpu_memory:
            return this_machine(self.study)
        trials = max(1, self.cluster.cpus // self.study.resources.cpus)
        name = ", ".join(self.cluster.accelerators) or "GPU"
        return on_gpus(self.study, self.cluster.gpus, name, self.cluster.gpu_memory * GIB, trials)


def diagnose(study: Study, out: Path, cluster: str | None) -> int:
    """Print all findings as they are made; returns how many are in the way of the study."""
    with tempfile.TemporaryDirectory() as scratch, screen_apart_from(Path(scratch) / "doctor.log") as console:
        console.print(f"[bold]{escape(study.name)}[/]: {len(cells_of(study))} cells, run directory {escape(str(out))}")
        return print_findings(examine(Case(study, out, cluster), console), console)


def examine(case: Case, console: Console) -> Iterator[Finding]:
    """The findings of every check; one that breaks down is a failure among them."""
    for name, check in CHECKS.items():
        with console.status(f"Checking {name}"):
            try:
                findings = check(case)
            except UserError as error:  # told where it belongs to
                findings = [Finding(Status.WARN, name, f"not checked: {str(error).splitlines()[0]}")]
            except Exception as error:
                reason = f"the check itself failed: {type(error).__name__}: {error}"
                findings = [Finding(Status.FAIL, name, reason, "report it with this line")]
        yield from findings


def print_findings(findings: Iterator[Finding], console: Console) -> int:
    """Print findings one below the other, and how many of them are not fine; returns the number of failures."""
    colours = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
    counts = dict.fromkeys(Status, 0)
    for finding in findings:
        counts[finding.status] += 1
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=4, style=colours[finding.status])
        line.add_column(width=max(map(len, CHECKS)))
        line.add_column(overflow="fold")
        mend = f"\n[bold]→[/] {escape(finding.mend)}" if finding.mend else ""
        line.add_row(finding.status, finding.what, escape(finding.detail) + mend)
        console.print(line)
    told = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((counts[Status.WARN], "warning"), (counts[Status.FAIL], "failure"))
        if count
    ]
    console.print(f"[bold]{', '.join(told) or 'Everything is in order'}[/]")
    return counts[Status.FAIL]


def check_python(case: Case) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        return [Finding(Status.PASS, "Python", version)]
    return [Finding(Status.FAIL, "Python", version, "take Python 3.11 or 3.12; `make demo` looks for one")]


def check_packages(case: Case) -> list[Finding]:
    return compare_packages(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"), (ROOT / "requirements.lock").read_text(encoding="utf-8")
    )


def compare_packages(project: str, lock: str) -> list[Finding]:
    """The installed versions of the packages that a `pyproject.toml` names, against a lock file."""
    names = [re.split(r"[^\w.-]", wanted)[0] for wanted in tomllib.loads(project)["project"]["dependencies"]]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE):
        locked.setdefault(name, []).append(version)  # one for each Python where they differ
    installed, missing, other = {}, [], []
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed[name] not in locked.get(name, []):
            other.append(f"{name} {installed[name]} for {' or '.join(locked.get(name, ['none']))}")
    mend = "install them with `python -m pip install --require-hashes -r requirements.lock`"
    if missing:
        return [Finding(Status.FAIL, "packages", f"missing: {', '.join(missing)}", mend)]
    if other:
        return [Finding(Status.WARN, "packages", f"not as in requirements.lock: {', '.join(other)}", mend)]
    told = [f"{name} {installed[name]}" for name in MAIN_PACKAGES if name in installed]
    return [Finding(Status.PASS, "packages", f"all {len(names)} as locked, {', '.join(told)}")]


def check_device(case: Case) -> list[Finding]:
    if case.address is not None:
        return [Finding(Status.PASS, "device", "trials run on the cluster's; this machine's are not looked at")]
    if torch.cuda.is_available():
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name()
        detail = f"{count} x {name}, CUDA {torch.version.cuda}"
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return [Finding(Status.PASS, "device", f"{detail}, bfloat16")]
        mend = "fine, but twice the memory and slower; GPUs from Ampere (A10, A100, RTX 30) on have it"
        return [Finding(Status.WARN, "device", f"{detail}, no bfloat16: towers compute in float32", mend)]
    cores = f"{os.cpu_count()} CPU cores, in float32"
    if shutil.which("nvidia-smi"):
        mend = f"update the driver (PyTorch is built for CUDA {torch.version.cuda}), look at CUDA_VISIBLE_DEVICES, or "
        mend += "start the container with its GPUs (docker run --gpus all)"
        return [Finding(Status.WARN, "device", f"PyTorch sees no GPU, though nvidia-smi is here: {cores}", mend)]
    mend = (
        "fine for tiny towers; full-size ones take days (--dry-run estimates): take a machine with a GPU, or --cluster"
    )
    return [Finding(Status.WARN, "device", f"no GPU: {cores}", mend)]


def check_ray(case: Case) -> list[Finding]:
    try:
        found = case.cluster
    except UserError as error:
        return [Finding(Status.FAIL, "Ray", str(error))]
    gpus = f"{found.gpus} GPUs" + (f" ({', '.join(found.accelerators)})" if found.accelerators else "")
    where = "starts here" if found.is_local else f"joined, {found.nodes} nodes"
    there = f"{where}: {found.cpus} CPUs, {gpus if found.gpus else 'no GPU'}"
    needed = case.study.resources
    short = [
        f"{wanted:g} {what}"
        for what, wanted, there_are in (("CPUs", needed.cpus, found.cpus), ("GPUs", needed.gpus or 0, found.gpus))
        if wanted > there_are
    ]
    if not short:
        return [Finding(Status.PASS, "Ray", there)]
    # A cluster may grow.
    return [
        Finding(
            Status.FAIL if found.is_local else Status.WARN,
            "Ray",
            f"{there}; but a trial asks for {' and '.join(short)} and would wait for ever",
            "lower `resources:` in the configuration" + ("" if found.is_local else ", or let the cluster grow"),
        )
    ]


def check_shared_memory(case: Case) -> list[Finding]:
    folder = Path("/dev/shm")
    return [] if case.address or not folder.is_dir() else judge_shared_memory(free_bytes(folder))


def judge_shared_memory(free: float) -> list[Finding]:
    """Where Ray's object store lies on Linux."""
    detail = f"{readable_bytes(free)} free in /dev/shm for Ray's object store"
    if free >= SHARED_MEMORY:
        return [Finding(Status.PASS, "shared memory", detail)]
    mend = "Ray then uses the disk, slowly: start the container with `docker run --shm-size=8g`, or remount /dev/shm"
    return [Finding(Status.WARN, "shared memory", detail, mend)]


def check_memory(case: Case) -> list[Finding]:
    return judge_memory(case.study, case.machine)


def judge_memory(study: Study, machine: Machine) -> list[Finding]:
    """Which cells fit into a machine's memory as configured, which only in smaller pieces, and which not at all."""
    recipe, on_gpu = study.training, machine.device.type == "cuda"
    configured = (recipe.micro_batch or recipe.batch_size, recipe.checkpointing)
    cells: dict[tuple[int, bool] | None, list[Cell]] = {}
    for cell in cells_of(study):
        found = footprint_on(study, cell, machine)
        cells.setdefault((found.micro_batch, found.checkpointing) if found else None, []).append(cell)
    room = f"{readable_bytes(machine.memory)} of {'GPU' if on_gpu else 'main'} memory a trial"
    fewer = "" if on_gpu or machine.trials == 1 else f", or fewer than {machine.trials} trials at once (resources.cpus)"
    findings = []
    for fit, those in cells.items():
        names = ", ".join(cell.name for cell in those)
        if fit is None:
            least = max(memory(cell, 1, True, machine) for cell in those)
            findings.append(
                Finding(
                    Status.FAIL,
                    "memory",
                    f"{room}; even one image at a time with gradient checkpointing takes up to "
                    f"{readable_bytes(least)}: {names}",
                    f"take more memory, a smaller backbone, a strategy that trains less of it{fewer}",
                )
            )
            continue
        most = max(memory(cell, *fit, machine) for cell in those)
        pieces = f"{fit[0]} image{'' if fit[0] == 1 else 's'} at once" + (" and gradient checkpointing" * fit[1])
        if fit == configured:
            which = f"all {len(those)} cells" if len(cells) == 1 else f"{len(those)} cells"
            detail = f"{room}; {which} fit with {pieces}, the largest in {readable_bytes(most)}"
            findings.append(Finding(Status.PASS, "memory", detail))
        else:
            setting = f"training: {{micro_batch: {fit[0]}{', checkpointing: true' * fit[1]}}}"
            findings.append(
                Finding(
                    Status.WARN,
                    "memory",
                    f"{room}; only with {pieces} ({readable_bytes(most)}) fit {names}",
                    f"training shrinks to that by itself, the effective batch stays; `{setting}` spares the attempts"
                    if on_gpu
                    else f"a CPU trial that takes too much is ended by the system: set `{setting}`{fewer}",
                )
            )
    order = list(Status)
    return sorted(findings, key=lambda finding: order.index(finding.status))


def check_disk(case: Case) -> list[Finding]:
    folder = existing_parent(case.out)
    if not os.access(folder, os.W_OK):
        return [Finding(Status.FAIL, "disk", f"{folder} cannot be written", "choose another --out")]
    sizes = images_by_split(case.cohort)
    cached = cached_blocks(case.study, sizes, case.out)
    parts, free = disk_bytes(case.study, sizes, cached), free_bytes(folder)
    told = ", ".join(f"{what} {readable_bytes(count)}" for what, count in parts.items())
    detail = f"{readable_bytes(free)} free at {folder}; the study takes {readable_bytes(sum(parts.values()))}: {told}"
    if sum(parts.values()) > free:
        return [Finding(Status.FAIL, "disk", detail, "choose another --out, or lower embeddings.max_gib")]
    findings = [Finding(Status.PASS, "disk", detail)]
    uncached = [cell.name for cell in cells_of(case.study) if trains_from_images(cell, cached)]
    if uncached:
        findings.append(
            Finding(
                Status.WARN,
                "disk",
                f"no room for the embeddings of {', '.join(uncached)} within embeddings.max_gib "
                f"({case.study.embeddings.max_gib:g}) and nine tenths of the free disk: they train from images, slower",
                "raise embeddings.max_gib, choose an --out with more space, or lower training.views",
            )
        )
    return findings


def check_weights(case: Case) -> list[Finding]:
    findings, download = [], 0
    for choice in case.study.backbones:
        finding, size = _weights(choice)
        findings.append(finding)
        download += size
    cache = Path(constants.HF_HUB_CACHE)
    if download > free_bytes(cache):
        detail = f"{readable_bytes(download)} are to be downloaded, {readable_bytes(free_bytes(cache))} free at {cache}"
        findings.append(Finding(Status.FAIL, "weights", detail, "set HF_HOME to a folder with more space"))
    return findings


def _weights(choice: BackboneChoice) -> tuple[Finding, int]:
    """Where a backbone's weights are, and how many bytes of them are to be downloaded."""

    def found(status: Status, detail: str, mend: str = "") -> Finding:
        return Finding(status, "weights", f"{choice.name}: {detail}", mend)

    hub = choice.open().weights
    if choice.weights is None and hub is None:
        return found(Status.PASS, "untrained, none needed"), 0
    try:
        path = choice.open().locate(choice.weights) if choice.weights is not None or hub is None else hub.cached()
        if path is not None:
            if choice.sha256 is not None:
                find_weights(choice)
            digest = ", SHA-256 as configured" if choice.sha256 else ""
            return found(Status.PASS, f"{path}, {readable_bytes(path.stat().st_size)}{digest}"), 0
    except backbones.WeightsError as error:
        return found(Status.FAIL, str(error)), 0
    assert hub is not None  # else there would be a path
    try:
        size = ask_hub(hub)
    except (HTTPError, OSError) as error:
        # A refusal will not mend itself; a hub out of reach may, or the study runs where it is not.
        refused = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404)
        if isinstance(error, HfHubHTTPError | OfflineModeIsEnabled):
            reason, _, mend = hub._reason(error).partition(": ")
        else:
            reason = f"not in the hub's cache, and the hub cannot be reached ({type(error).__name__})"
            mend = "check the network, the proxy and HF_ENDPOINT"
        by_hand = f"or name {hub.file}, downloaded elsewhere, as `weights:` of the backbone"
        detail = f"huggingface.co/{hub.repository}: {reason}"
        return found(Status.FAIL if refused else Status.WARN, detail, f"{mend}; {by_hand}"), 0
    told = "of unknown size" if size is None else readable_bytes(size)
    return found(Status.PASS, f"not here yet; {told}, will be downloaded from huggingface.co/{hub}"), size or 0


def ask_hub(hub: HubFile) -> int | None:
    """Bytes of a file that may be downloaded, where the hub tells.

    Raises what `huggingface_hub.get_hf_file_metadata` does.
    """
    *others, last = hub.names
    for name in others:
        try:
            return _file_size(hub, name)
        except RemoteEntryNotFoundError:
            continue
    return _file_size(hub, last)


def _file_size(hub: HubFile, name: str) -> int | None:
    url = huggingface_hub.hf_hub_url(hub.repository, name, revision=hub.revision)
    return huggingface_hub.get_hf_file_metadata(url, timeout=ANSWER_SECONDS).size


def check_token(case: Case) -> list[Finding]:
    gated = [
        choice.name
        for choice in case.study.backbones
        for hub in [choice.open().weights]
        if choice.weights is None and hub is not None and hub.gated and hub.cached() is None
    ]
    if huggingface_hub.get_token():
        return [Finding(Status.PASS, "hub token", "set")]
    if not gated:
        return [Finding(Status.PASS, "hub token", "none, and none needed: no gated weights are to be downloaded")]
    mend = "make one at huggingface.co/settings/tokens and set HF_TOKEN"
    return [Finding(Status.WARN, "hub token", f"none, but gated: {', '.join(gated)}", mend)]


def check_cohort(case: Case) -> list[Finding]:
    try:
        cohort = case.cohort
    except UserError as error:
        return [Finding(Status.FAIL, "cohort", line) for line in str(error).splitlines()]
    parts = {split: cohort.filter(pl.col("split") == split)["label"] for split in SPLITS}
    told = ", ".join(f"{split} {len(labels)} ({labels.sum()} positive)" for split, labels in parts.items())
    source = case.study.cohort.manifest or "synthetic"
    people = cohort["patient_id"].n_unique()
    return [Finding(Status.PASS, "cohort", f"{source}: {len(cohort)} images of {people} people; {told}")]


def check_photographs(case: Case) -> list[Finding]:
    if case.study.cohort.synthetic is not None:
        return [Finding(Status.PASS, "photographs", "drawn when the study runs")]
    cohort, allowed = case.cohort, case.study.cohort.max_rejected
    absent = [path for path in cohort["path"] if not Path(path).is_file()]
    if absent:
        mend = "relative paths count from --image-dir, else from the manifest's folder"
        status = Status.FAIL if len(absent) > allowed * len(cohort) else Status.WARN
        detail = f"{len(absent)} of {len(cohort)} files are missing, the first: {absent[0]}"
        return [Finding(status, "photographs", detail, mend)]
    sample = pl.concat([cohort.filter(pl.col("split") == split).head(SAMPLE) for split in SPLITS])
    rows = sample.select("path", pl.col("fov_mask").fill_null("")).with_row_index("row").to_dicts()
    faults = [(row["path"], error) for row in rows if (error := crop_row(row)["error"])]
    if not faults:
        return [Finding(Status.PASS, "photographs", f"all files are there, {len(rows)} of them were decoded")]
    status = Status.FAIL if len(faults) == len(rows) else Status.WARN
    mend = f"replace them, or leave them out: the study goes on while no more than {allowed:.0%} are lost"
    return [Finding(status, "photographs", f"{path}: {error}", mend if last else "")
            for last, (path, error) in zip([*[False] * (len(faults) - 1), True], faults, strict=True)]  # fmt: skip


def check_vessels(case: Case) -> list[Finding]:
    try:
        provenance = open_vessels(case.study).provenance
    except UserError as error:
        return [Finding(Status.FAIL, "vessels", str(error).removeprefix("vessels: "))]
    told = ", ".join(f"{key} {value}" for key, value in provenance.items())
    findings = [Finding(Status.PASS, "vessels", told.removeprefix("name "))]
    if case.study.vessels.source == "masks" and case.study.cohort.synthetic is None:
        findings += _masks(case.cohort.filter(pl.col("split") == "test"))
    return findings


def _masks(test: pl.DataFrame) -> list[Finding]:
    named = test.filter(pl.all_horizontal(pl.col("artery_mask", "vein_mask").is_not_null()))
    there = sum(
        Path(artery).is_file() and Path(vein).is_file() for artery, vein in named["artery_mask", "vein_mask"].rows()
    )
    if there == len(test):
        return []
    status = Status.WARN if there else Status.FAIL
    mend = "an image without both takes no part in the ratios: mend the manifest, or choose --vessels wnet"
    return [Finding(status, "vessels", f"{there} of {len(test)} test images have both mask files", mend)]


CHECKS: dict[str, Callable[[Case], list[Finding]]] = {
    "Python": check_python,
    "packages": check_packages,
    "device": check_device,
    "Ray": check_ray,
    "shared memory": check_shared_memory,
    "cohort": check_cohort,
    "photographs": check_photographs,
    "vessels": check_vessels,
    "memory": check_memory,
    "disk": check_disk,
    "weights": check_weights,
    "hub token": check_token,
}
