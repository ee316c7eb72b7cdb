"""Device, Ray, shared memory, memory, disk: here, or on the cluster."""

import os
import resource
import shutil
from pathlib import Path

import psutil
import torch

from benchmark.errors import UserError
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.preflight.plan import images_by_split
from benchmark.report.readable import readable_bytes
from benchmark.scheduling.cluster import short_memory
from benchmark.scheduling.local_ray import OPEN_FILES, largest_processes, temporary_folder
from benchmark.stages.pipeline import unmet
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

SHARED_MEMORY = 2 * GIB  # what Ray's object store wants at least; a container has 64 MiB unless it is told otherwise
SPARE_MEMORY = 0.15  # share of memory; Ray ends workers when a twentieth is left


def check_device(case: Case) -> list[Finding]:
    if case.address is not None:
        return [Finding(Status.PASS, "device", "trials run on the cluster's; this machine's are not looked at")]
    if torch.cuda.is_available():
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name()
        detail = f"{count} x {name}, CUDA {torch.version.cuda}"
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return [Finding(Status.PASS, "device", f"{detail}, bfloat16")]
        mend = "fine, but twice the memory and slower; GPUs from Ampere (A10, A100, RTX 30) on have it"
        return [Finding(Status.WARN, "device", f"{detail}, no bfloat16: models compute in float32", mend)]
    cores = f"{os.cpu_count()} CPU cores, in float32"
    if shutil.which("nvidia-smi"):
        mend = f"update the driver (PyTorch is built for CUDA {torch.version.cuda}), look at CUDA_VISIBLE_DEVICES, or "
        mend += "start the container with its GPUs (docker run --gpus all)"
        return [Finding(Status.WARN, "device", f"PyTorch sees no GPU, though nvidia-smi is here: {cores}", mend)]
    mend = (
        "fine for tiny models; full-size ones take days (--dry-run estimates): take a machine with a GPU, or --cluster"
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
    short = unmet(case.study.resources, found)
    if not short:
        return [Finding(Status.PASS, "Ray", there)]
    detail = f"{there}; but a trial asks for {' and '.join(short.values())} and would wait for ever"
    mend = f"lower {' and '.join(short)} in the configuration"
    if found.is_local:
        return [Finding(Status.FAIL, "Ray", detail, mend)]
    return [Finding(Status.WARN, "Ray", detail, f"{mend}, or let the cluster grow")]


def check_temporary_folder(case: Case) -> list[Finding]:
    """Where a Ray of our own puts sockets and logs."""
    if case.address:
        return []
    try:
        folder = temporary_folder()
    except UserError as error:
        return [Finding(Status.FAIL, "temporary files", str(error))]
    detail = f"Ray's are in {folder.path}"
    if not folder.passed_over:
        return [Finding(Status.PASS, "temporary files", detail)]
    mend = "fine, unless there is too little space; RAY_TMPDIR names another folder"
    return [Finding(Status.WARN, "temporary files", f"{detail}, for {folder.passed_over}", mend)]


def check_free_memory(case: Case) -> list[Finding]:
    """What other programs leave, of this machine's memory."""
    short = None if case.address else short_memory()
    if short:
        return [Finding(Status.FAIL, "memory in use", short)]
    memory = psutil.virtual_memory()
    return judge_free_memory(memory.available, memory.total)


def judge_free_memory(free: float, total: float) -> list[Finding]:
    """Bytes that are free, of all."""
    detail = f"{1 - free / total:.0%} of {readable_bytes(total)}, {readable_bytes(free)} are free"
    if free >= SPARE_MEMORY * total:
        return [Finding(Status.PASS, "memory in use", detail)]
    mend = f"close other programs, the largest are {largest_processes()}: Ray ends workers when memory is short"
    return [Finding(Status.WARN, "memory in use", detail, mend)]


def check_open_files(case: Case) -> list[Finding]:
    return judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def judge_open_files(limit: int) -> list[Finding]:
    """The hard limit: Ray raises the soft one to it."""
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES:
        return [Finding(Status.PASS, "open files", "enough for a process")]
    mend = f"raise it with `ulimit -Hn {OPEN_FILES}`, or `docker run --ulimit nofile={OPEN_FILES}`"
    return [Finding(Status.WARN, "open files", f"at most {limit} for a process, and Ray needs hundreds", mend)]


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
    """Which trials fit into a machine's memory as configured, which only in smaller pieces, and which not at all."""
    recipe, on_gpu = study.training, machine.device.type == "cuda"
    configured = (recipe.micro_batch or recipe.batch_size, recipe.checkpointing)
    trials: dict[tuple[int, bool] | None, list[Trial]] = {}
    for trial in trials_of(study):
        found = footprint_on(study, trial, machine)
        trials.setdefault((found.micro_batch, found.checkpointing) if found else None, []).append(trial)
    room = f"{readable_bytes(machine.memory)} of {'GPU' if on_gpu else 'main'} memory a trial"
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
                    f"{room}; even one image at a time with gradient checkpointing takes up to "
                    f"{readable_bytes(least)}: {names}",
                    f"take more memory, a smaller backbone, a strategy that trains less of it{fewer}",
                )
            )
            continue
        most = max(memory(trial, *fit, machine) for trial in those)
        pieces = f"{fit[0]} image{'' if fit[0] == 1 else 's'} at once" + (" and gradient checkpointing" * fit[1])
        if fit == configured:
            which = f"all {len(those)} trials" if len(trials) == 1 else f"{len(those)} trials"
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
    uncached = [trial.name for trial in trials_of(case.study) if trains_from_images(trial, cached)]
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
