"""Check the device, Ray, shared memory, memory and disk of this machine or the cluster."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

import psutil
import torch

from benchmark.errors import UserError
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.preflight.expected import images_by_split
from benchmark.report.readable import readable_bytes
from benchmark.scheduling.cluster import short_memory
from benchmark.scheduling.local_ray import OPEN_FILES, largest_processes, temporary_folder
from benchmark.stages.run import unmet
from benchmark.storage.lock import in_use
from benchmark.storage.rundir import RunDirectory, unusable
from benchmark.study.config import Study
from benchmark.study.trials import Trial, trials_of
from benchmark.trial.costs import (
    GIB,
    Machine,
    cached_blocks,
    disk_bytes,
    existing_parent,
    footprint_on,
    free_bytes,
    memory,
    trains_from_images,
)

SHARED_MEMORY = 2 * GIB  # the least that Ray's object store needs; a container has 64 MiB by default
SPARE_MEMORY = 0.15  # share of memory; Ray kills workers when only a twentieth is left


def check_device(case: Case) -> list[Finding]:
    if case.address is not None:
        return [Finding(Status.PASS, "device", "trials run on the cluster; this machine's devices are not checked")]
    if torch.cuda.is_available():
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name()
        detail = f"{count} x {name}, CUDA {torch.version.cuda}"
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return [Finding(Status.PASS, "device", f"{detail}, bfloat16")]
        fix = "works, but needs twice the memory and is slower; GPUs since Ampere (A10, A100, RTX 30) have bfloat16"
        return [Finding(Status.WARN, "device", f"{detail}, no bfloat16: models compute in float32", fix)]
    cores = f"{os.cpu_count()} CPU cores, in float32"
    if shutil.which("nvidia-smi"):
        fix = f"update the driver (PyTorch is built for CUDA {torch.version.cuda}), check CUDA_VISIBLE_DEVICES, or "
        fix += "start the container with its GPUs (docker run --gpus all)"
        return [Finding(Status.WARN, "device", f"PyTorch finds no GPU, but nvidia-smi exists: {cores}", fix)]
    fix = "enough for tiny models; full-size models take days (see --dry-run): use a machine with a GPU, or --cluster"
    return [Finding(Status.WARN, "device", f"no GPU: {cores}", fix)]


def check_ray(case: Case) -> list[Finding]:
    try:
        found = case.cluster
    except UserError as error:
        return [Finding(Status.FAIL, "Ray", str(error))]
    gpus = f"{found.gpus} GPUs" + (f" ({', '.join(found.accelerators)})" if found.accelerators else "")
    where = "starts here" if found.is_local else f"joined, {found.nodes} nodes"
    there = f"{where}: {found.cpus} CPUs, {gpus if found.gpus else 'no GPU'}"
    short = unmet(case.study.resources, found)
    if not short:
        return [Finding(Status.PASS, "Ray", there)]
    detail = f"{there}; but a trial requests {' and '.join(short.values())} and would wait forever"
    fix = f"lower {' and '.join(short)} in the configuration"
    if found.is_local:
        return [Finding(Status.FAIL, "Ray", detail, fix)]
    return [Finding(Status.WARN, "Ray", detail, f"{fix}, or add nodes to the cluster")]


def check_temporary_folder(case: Case) -> list[Finding]:
    """Check the folder in which a Ray that starts here puts its sockets and logs."""
    if case.address:
        return []
    try:
        folder = temporary_folder()
    except UserError as error:
        return [Finding(Status.FAIL, "temporary files", str(error))]
    detail = f"Ray uses {folder.path}"
    if not folder.passed_over:
        return [Finding(Status.PASS, "temporary files", detail)]
    fix = "nothing, unless that folder has too little space; RAY_TMPDIR names another folder"
    return [Finding(Status.WARN, "temporary files", f"{detail}, because {folder.passed_over}", fix)]


def check_free_memory(case: Case) -> list[Finding]:
    """Check how much of this machine's memory other programs leave free."""
    short = None if case.address else short_memory()
    if short:
        return [Finding(Status.FAIL, "memory in use", short)]
    memory = psutil.virtual_memory()
    return judge_free_memory(memory.available, memory.total)


def judge_free_memory(free: float, total: float) -> list[Finding]:
    """Judge the free memory, in bytes, by the total."""
    detail = f"{1 - free / total:.0%} of {readable_bytes(total)}, {readable_bytes(free)} are free"
    if free >= SPARE_MEMORY * total:
        return [Finding(Status.PASS, "memory in use", detail)]
    fix = f"close other programs (the largest: {largest_processes()}); Ray kills workers when memory is short"
    return [Finding(Status.WARN, "memory in use", detail, fix)]


def check_open_files(case: Case) -> list[Finding]:
    return judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def judge_open_files(limit: int) -> list[Finding]:
    """Judge the hard limit on open files; Ray raises the soft limit to it."""
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES:
        return [Finding(Status.PASS, "open files", "the limit is high enough")]
    fix = f"raise the limit with `ulimit -Hn {OPEN_FILES}`, or `docker run --ulimit nofile={OPEN_FILES}`"
    return [Finding(Status.WARN, "open files", f"at most {limit} per process, but Ray needs hundreds", fix)]


def check_shared_memory(case: Case) -> list[Finding]:
    folder = Path("/dev/shm")
    return [] if case.address or not folder.is_dir() else judge_shared_memory(free_bytes(folder))


def judge_shared_memory(free: float) -> list[Finding]:
    """Judge the free space in /dev/shm, where Ray keeps its object store on Linux."""
    detail = f"{readable_bytes(free)} free in /dev/shm for Ray's object store"
    if free >= SHARED_MEMORY:
        return [Finding(Status.PASS, "shared memory", detail)]
    fix = "Ray then uses the slow disk: start the container with `docker run --shm-size=8g`, or remount /dev/shm"
    return [Finding(Status.WARN, "shared memory", detail, fix)]


def check_memory(case: Case) -> list[Finding]:
    return judge_memory(case.study, case.machine)


def judge_memory(study: Study, machine: Machine) -> list[Finding]:
    """Find which trials fit into a machine's memory as configured, which only with smaller batches, and which never."""
    recipe, on_gpu = study.training, machine.device.type == "cuda"
    configured = (recipe.micro_batch or recipe.batch_size, recipe.checkpointing)
    trials: dict[tuple[int, bool] | None, list[Trial]] = {}
    for trial in trials_of(study):
        found = footprint_on(study, trial, machine)
        trials.setdefault((found.micro_batch, found.checkpointing) if found else None, []).append(trial)
    room = f"{readable_bytes(machine.memory)} of {'GPU' if on_gpu else 'main'} memory per trial"
    fewer = "" if on_gpu or machine.trials == 1 else f", or fewer than {machine.trials} trials at once (resources.cpus)"
    findings = []
    for fit, those in trials.items():
        names = ", ".join(trial.name for trial in those)
        if fit is None:
            least = max(memory(trial, 1, True, machine) for trial in those)
            findings.append(
                Finding(
                    Status.FAIL,
                    "memory",
                    f"{room}; even one image at a time with gradient checkpointing needs up to "
                    f"{readable_bytes(least)}: {names}",
                    f"use more memory, a smaller backbone or a strategy that trains less of it{fewer}",
                )
            )
            continue
        most = max(memory(trial, *fit, machine) for trial in those)
        pieces = f"{fit[0]} image{'' if fit[0] == 1 else 's'} at once" + (" and gradient checkpointing" * fit[1])
        if fit == configured:
            which = f"all {len(those)} trials" if len(trials) == 1 else f"{len(those)} trials"
            detail = f"{room}; {which} fit with {pieces}, and the largest needs {readable_bytes(most)}"
            findings.append(Finding(Status.PASS, "memory", detail))
        else:
            setting = f"training: {{micro_batch: {fit[0]}{', checkpointing: true' * fit[1]}}}"
            findings.append(
                Finding(
                    Status.WARN,
                    "memory",
                    f"{room}; only with {pieces} ({readable_bytes(most)}) do these fit: {names}",
                    f"training does this by itself and keeps the effective batch; `{setting}` avoids failed attempts"
                    if on_gpu
                    else f"the system kills a CPU trial that needs too much: set `{setting}`{fewer}",
                )
            )
    order = list(Status)
    return sorted(findings, key=lambda finding: order.index(finding.status))


def check_run_directory(case: Case) -> list[Finding]:
    """Check that the run directory can be written, is not in use, and holds no run that would be mixed with this one.

    A temporary folder is created next to what exists of it and deleted at once: permissions alone do not tell whether
    a file system can be written.
    """
    directory = RunDirectory(case.out)
    try:
        with tempfile.TemporaryDirectory(dir=_nearest(directory.path), prefix=".probe-"):
            pass
        directory.check(case.study.dump(), case.resume)
        held = in_use(directory.lock)
    except UserError as error:
        held = str(error)
    except OSError as error:
        held = str(unusable(directory.path, error))
    if held is None:
        return [Finding(Status.PASS, "run directory", f"{directory.path} can be written")]
    detail, _, fix = held.partition("; " if "; " in held else ": ")
    return [Finding(Status.FAIL, "run directory", detail, fix)]


def _nearest(path: Path) -> Path:
    """The path, or its nearest parent that exists.

    Raises:
        OSError: a part of the path is a file, is too long, or cannot be looked up.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return _nearest(path.parent)
    return path


def check_disk(case: Case) -> list[Finding]:
    folder = existing_parent(case.out)
    sizes = images_by_split(case.study, case.cohort)
    cached = cached_blocks(case.study, sizes, case.out)
    parts, free = disk_bytes(case.study, sizes, cached), free_bytes(folder)
    listed = ", ".join(f"{what} {readable_bytes(count)}" for what, count in parts.items())
    needed = readable_bytes(sum(parts.values()))
    detail = f"{readable_bytes(free)} free at {folder}; the study needs {needed}: {listed}"
    if sum(parts.values()) > free:
        return [Finding(Status.FAIL, "disk", detail, "choose another --out, or lower embeddings.max_gib")]
    findings = [Finding(Status.PASS, "disk", detail)]
    uncached = [trial.name for trial in trials_of(case.study) if trains_from_images(trial, cached)]
    if uncached:
        findings.append(
            Finding(
                Status.WARN,
                "disk",
                f"the embeddings of {', '.join(uncached)} do not fit into embeddings.max_gib "
                f"({case.study.embeddings.max_gib:g}) and nine tenths of the free disk: they train from images, which "
                "is slower",
                "raise embeddings.max_gib, choose an --out with more space, or lower training.views",
            )
        )
    return findings
