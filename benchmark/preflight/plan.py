"""Print what a study would run, how long it would take and what it needs (`--dry-run`).

Nothing is decoded, trained, downloaded or started.
"""

from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import backbones
from benchmark.errors import UserError
from benchmark.preflight.adequacy import adequacy
from benchmark.report.readable import readable_bytes, readable_seconds
from benchmark.report.terminal import print_table
from benchmark.shipped import COMMAND
from benchmark.stages.segment import open_vessels, require_own_masks
from benchmark.study.cohort import open_cohort
from benchmark.study.config import BackboneChoice, Study
from benchmark.study.manifest import SPLITS, Manifest
from benchmark.study.patients import counted, of_each_class, too_few
from benchmark.study.splits import of_split, split_patients
from benchmark.study.trials import Trial, trials_of
from benchmark.synthetic import plan as plan_synthetic
from benchmark.trial.cache import CachePlan
from benchmark.trial.costs import (
    Cost,
    Machine,
    cached_blocks,
    cost_of,
    disk_bytes,
    embedding_seconds,
    this_machine,
    trains_from_images,
)


def print_plan(study: Study, out: Path, cluster: str | None, console: Console) -> None:
    """Print trials, images, devices, estimated time and memory, licences, and what is missing.

    Raises:
        UserError: the manifest has faults.
    """
    trials = trials_of(study)
    with console.status("Estimating"):
        opened = expected_cohort(study)
        cohort = opened.images
        images = _images(study, cohort)
        sizes = images_by_split(cohort)
        machine, cached = this_machine(study), cached_blocks(study, sizes, out)
        costs = {trial: cost_of(study, trial, sizes, cached, machine) for trial in trials}
        embedding = embedding_seconds(study, sizes, cached, machine)
        disk = sum(disk_bytes(study, sizes, cached).values())

    console.print(f"[bold]{escape(study.name)}[/]: {len(trials)} trials, run directory {escape(str(out))}")
    console.print(images)
    if few := too_few(of_each_class(of_split(cohort, "test"))):
        console.print(f"[yellow]Few patients:[/] {few}")
    for line in opened.remarks():
        console.print(escape(line))
    for line in _adequacy(study, cohort):
        console.print(line)
    for line in opened.conflicts:
        console.print(f"[red]The run would not start:[/] {escape(line)}")
    print_table(_table(costs), console)
    for line in _limits(trials, costs, machine, cached):
        console.print(line)
    total = embedding + sum(cost.seconds for cost in costs.values())
    console.print(
        f"Device: {machine.trials} x {escape(machine.name)}. Embeddings, computed once for all trials: "
        f"{readable_seconds(embedding)}. Disk space: {readable_bytes(disk)}. Total time: about "
        f"{readable_seconds(total / machine.trials)}, without segmentation."
    )
    if study.search is not None:
        console.print(_search(study, costs, machine))
    if cluster:
        console.print("The time is for this machine's devices; with --cluster, the cluster's devices share the work.")
    console.print(*(_backbone(choice) for choice in study.backbones), sep="\n")
    console.print(_vessels(study, cohort))


def expected_cohort(study: Study) -> Manifest:
    """The images that the manifest lists, or that would be drawn, with their splits.

    The images have at least the columns label, patient_id and split.

    Raises:
        UserError: the manifest has faults.
    """
    settings = study.cohort
    if settings.synthetic is None:
        assert settings.manifest is not None  # Cohort has one of the two
        return open_cohort(study, settings.manifest)
    drawn = pl.DataFrame(plan_synthetic(settings.synthetic)).with_columns(pl.lit(None, pl.String).alias("split"))
    return Manifest(split_patients(drawn, settings.shares))


def images_by_split(cohort: pl.DataFrame) -> dict[str, int]:
    """The number of images in each split."""
    return {split: of_split(cohort, split).height for split in SPLITS}


def _images(study: Study, cohort: pl.DataFrame) -> str:
    absent = []
    if study.cohort.synthetic is None:
        absent = [path for path in cohort["path"] if not Path(path).is_file()]
        if len(absent) > study.cohort.max_rejected * len(cohort):
            raise UserError(
                f"{len(absent)} of {len(cohort)} image files are missing, the first: {absent[0]}; "
                "relative paths start from --image-dir, or else from the manifest's folder"
            )
    parts = {split: of_split(cohort, split) for split in SPLITS}
    sizes = ", ".join(f"{split} {counted(part)}" for split, part in parts.items())
    source = "the synthetic cohort" if study.cohort.synthetic else str(study.cohort.manifest)
    missing = f"; [yellow]files missing: {len(absent)}[/], the first: {escape(absent[0])}" if absent else ""
    patients = cohort["patient_id"].n_unique()
    return f"Images: {len(cohort)} from {patients} patients in {escape(source)}; {sizes}{missing}"


def _adequacy(study: Study, cohort: pl.DataFrame) -> list[str]:
    """How precise the results of the study can be."""
    found = adequacy(of_split(cohort, "test"), study.statistics.confidence)
    if found is None:
        return []
    return [f"Test set: {found.discrimination}", found.calibration]


def _table(costs: dict[Trial, Cost]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption="Rough estimates from one block of each backbone on this machine.",
    )
    table.add_column("trial", overflow="fold")
    for heading in ("trainable", "memory", "epoch", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for trial, cost in costs.items():
        times = (readable_seconds(cost.epoch), readable_seconds(cost.seconds))
        table.add_row(trial.name, f"{cost.trainable:,}", readable_bytes(cost.memory), *times)
    return table


def _limits(trials: list[Trial], costs: dict[Trial, Cost], machine: Machine, cached: CachePlan) -> list[str]:
    """One line for each limit of this machine that affects trials."""
    lines = []
    uncached = [trial.name for trial in trials if trains_from_images(trial, cached)]
    if uncached:
        lines.append(
            "[yellow]Train from images[/] (slower), because their embeddings do not fit into embeddings.max_gib and "
            f"nine tenths of the free disk: {escape(', '.join(uncached))}"
        )
    large = [trial.name for trial, cost in costs.items() if cost.memory > machine.memory]
    if large:
        lines.append(
            f"[yellow]More memory[/] than the {readable_bytes(machine.memory)} available to a trial is needed by "
            f"{escape(', '.join(large))}: `{COMMAND} doctor` shows what fits"
        )
    return lines


def _search(study: Study, costs: dict[Trial, Cost], machine: Machine) -> str:
    assert study.search is not None
    cells = {trial.cell: cost for trial, cost in costs.items()}
    most = study.search.candidates * study.training.epochs
    seconds = most * sum(cost.epoch for cost in cells.values()) / machine.trials
    return (
        f"Search: {study.search.candidates} learning rates for each of {len(cells)} cells, at most {most} epochs per "
        f"cell, before the trials: at most {readable_seconds(seconds)} more."
    )


def _backbone(choice: BackboneChoice) -> str:
    backbone = choice.open()
    licence = escape(backbone.licence)
    if "non-commercial" in licence:
        licence = f"[yellow]{licence}[/]"
    return (
        f"[bold]{escape(choice.name)}[/]: pre-training: {escape(backbone.pretraining)}; licence: {licence}; "
        f"weights: {_weights(choice)}"
    )


def _weights(choice: BackboneChoice) -> str:
    backbone = choice.open()
    if choice.weights is not None:
        try:
            return f"{escape(str(backbone.locate(choice.weights)))} found"
        except backbones.WeightsError as error:
            return f"[red]{escape(str(error))}[/]"
    if backbone.shipped is not None:
        return f"{backbone.shipped.name}, which comes with this project"
    hub = backbone.weights
    if hub is None:
        return "untrained, none needed"
    if hub.cached():
        return f"{hub} is in the hub's cache"
    fault = backbones.hub_settings.fault()
    if fault is not None:
        return f"[yellow]missing here[/]; [red]{escape(fault)}[/]"
    gate = ", gated: accept its terms there and set HF_TOKEN" if hub.gated else ""
    return (
        f"[yellow]missing here[/], will be downloaded from huggingface.co/{hub}{gate}; or name a local file as "
        "`weights:`"
    )


def _vessels(study: Study, cohort: pl.DataFrame) -> str:
    try:
        source = open_vessels(study)
    except UserError as error:
        return f"[red]{escape(str(error))}[/]"
    if study.cohort.synthetic is None:
        require_own_masks(source, cohort)
    provenance = source.provenance
    details = ", ".join(f"{key} {value}" for key, value in provenance.items() if key != "name")
    return f"Vessels: {escape(provenance['name'] + (f' ({details})' if details else ''))}; ready."
