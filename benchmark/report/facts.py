"""How a run was made, in words: the facts at the end of its page. Files are named without their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.report.provenance import Machine, Program
from benchmark.report.results import Results
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from xai.vessels.quality import FLAGS


def facts(study: Study, results: Results, vessels: pl.DataFrame) -> dict[str, dict[str, str]]:
    """The facts as text: section -> key -> value.

    Args:
        study: the configuration.
        results: the results of the run, with its record.
        vessels: one row per test image, as in `vessels.parquet`.
    """
    trained = {(trial.backbone, trial.strategy, trial.seed): trial.training for trial in results.trials}
    patients, machine = results.methods["patients"], results.machine
    return {
        "Data": _data(results),
        "Backbones": {
            b.name: f"{b.parameters / 1e6:,.1f} M parameters, width {b.width}, {b.depth} blocks; "
            f"{b.pretraining}; licence: {b.licence}"
            for b in (choice.open() for choice in study.backbones)
        },
        "Weights": {name: _weights(record) for name, record in results.weights.items()},
        "Training": {
            trial.name: _training(training) for trial in trials_of(study) if (training := trained.get(trial.key))
        },
        "Vessels": _source(results.vessels) | vessel_facts(vessels),
        "Explanation": {
            "method": f"{study.explain.method} at {study.explain.open().layer}",
            "class": "positive" if study.explain.target_class else "negative",
            "scaling": study.explain.scaling,
        },
        "Statistics": {
            "intervals": f"{100 * study.statistics.confidence:g} %, {patients.name}",
            "resamples": f"{study.statistics.resamples:,}, seed {study.statistics.seed}"
            + ("; for correlations" if study.statistics.interval == "t" else ""),
            "threshold": "highest F1 on validation",
        },
        "Software": {
            "retina-benchmark": _program(results.software.program),
            "python": results.software.python,
            **results.software.packages,
        },
        "Machine": {
            "nodes": str(machine.nodes),
            "CPUs": str(machine.cpus),
            "GPUs": f"{machine.gpus} {' '.join(machine.accelerators)}".strip(),
            "this node": _node(machine),
            "finished": results.finished,
        },
        "Seconds per stage": {stage: f"{seconds:.1f}" for stage, seconds in results.seconds.items()},
    }


def _source(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Where the masks come from; a caution about them is a notice of the page."""
    titles = {"name": "source"}
    return {titles.get(key, key.replace("_", " ")): str(value) for key, value in provenance.items() if key != "caution"}


def vessel_facts(vessels: pl.DataFrame) -> dict[str, str]:
    """Numbers of test images without masks, with flagged masks, with changed masks, and without a usable optic disc."""
    n = len(vessels)
    flags = vessels["flags"].str.split(", ")
    wrong = {flag: int(flags.list.contains(flag).sum()) for flag in FLAGS}
    found = {"test images without masks": str(vessels["error"].count())}
    found |= {f"flagged {flag.replace('_', ' ')}": f"{count} of {n}" for flag, count in wrong.items() if count}
    if "note" not in vessels.columns:  # a run that an earlier version segmented
        return found
    notes = vessels.filter(pl.col("note") != "").group_by("note").len().sort("note")
    found |= {f"masks {note}": f"{count} of {n}" for note, count in notes.iter_rows()}
    faults = vessels["disc_error"].drop_nulls()
    if len(faults):
        found["optic discs left out"] = f"{len(faults)} of {n}; first reason: {faults[0]}"
    return found


def _data(results: Results) -> dict[str, str]:
    cohort = results.cohort
    return {
        "cohort": cohort.source,
        "images used": str(sum(cohort.images.values())),
        "images left out": str(cohort.left_out),
        "duplicate images": "not counted" if cohort.repeated is None else str(cohort.repeated),
    } | {
        f"label {label}": ", ".join(
            f"{each.name} ({sum(each.images.values())} images)" for each in cohort.by_class if str(each.label) == label
        )
        or name
        for label, name in (cohort.classes or {}).items()
    }


def _weights(record: dict[str, Any] | None) -> str:
    if record is None:
        return "untrained"
    where = (
        "{repository}/{file} at {revision}".format(**record) if "repository" in record else Path(record["path"]).name
    )
    return f"{where}, SHA-256 {record['sha256']}"


def _training(record: dict[str, Any]) -> str:
    return (
        f"{record['trainable_parameters']:,} parameters, trained from {record['inputs']}; learning rate "
        f"{record['learning_rate']:.3g}, best epoch {record['best_epoch']} of {record['epochs']}, "
        f"{record['seconds']:.3g} s"
    )


def _program(program: Program) -> str:
    version = program.version or "unknown version"
    if program.commit is None:
        return version
    changes = {True: " with changes", False: "", None: ", changes unknown"}[program.changed]
    return f"{version}, commit {program.commit}{changes}"


def _node(machine: Machine) -> str:
    """The node on which the report stage ran."""
    memory = "" if machine.memory is None else f"{machine.memory / 2**30:.0f} GiB"
    return ", ".join(part for part in (machine.processor, memory) if part)
