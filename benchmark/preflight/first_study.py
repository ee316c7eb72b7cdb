"""Write a first configuration for a user's images (`init`): what was found, what was guessed and why, as comments."""

import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import polars as pl
import yaml
from huggingface_hub import constants
from rich.console import Console
from rich.markup import escape

import backbones
from backbones import hub_settings
from benchmark.errors import UserError
from benchmark.report.readable import readable_bytes
from benchmark.shipped import COMMAND, DEMO, ROOT, shipped
from benchmark.study.cohort import open_cohort
from benchmark.study.config import Study, load_study, read_values
from benchmark.study.covariates import Kind
from benchmark.study.folder import class_names, read_folder
from benchmark.study.guess import ONE_IMAGE_EACH, Guess, Guesses, guess, patient_pattern, positive_classes
from benchmark.study.listing import COLUMNS, read_columns
from benchmark.study.manifest import Manifest, open_manifest
from benchmark.study.patients import of_each_class
from benchmark.study.spellings import shown
from benchmark.study.trials import trials_of
from benchmark.trial.costs import Machine, memory, this_machine

PAPER = shipped("configs/paper.yaml")
SCHEMA = shipped("configs/schema.json")
CHECK = "CHECK"  # marks the guesses in a configuration that the user should look at
_WIDTH = 110


@dataclass(frozen=True)
class Wishes:
    """What the user has decided; None where it is to be guessed."""

    image_dir: Path | None = None
    positive: list[str] | None = None
    vessel_weights: Path | None = None
    name: str | None = None


@dataclass(frozen=True)
class Models:
    """The backbones of a configuration, and the file in `configs/` whose strategies and training suit them.

    Attributes:
        chosen: backbone -> why.
        others: backbone -> why it is not chosen.
    """

    like: Path
    chosen: dict[str, str]
    others: dict[str, str]
    why: str


@dataclass
class Notes:
    """What is printed after the file is written: facts, guesses to check, and what stops a run."""

    facts: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)
    fix: list[str] = field(default_factory=list)


def write_first_study(data: Path, out: Path, wishes: Wishes, overwrite: bool, console: Console) -> None:
    """Write a configuration for the images of a table or a folder of classes, and print what was found.

    Raises:
        UserError: `out` exists and is not to be overwritten, or the data cannot be understood; nothing is written.
    """
    if out.exists() and not overwrite:
        raise UserError(f"{out}: already exists; add --overwrite to replace it, or name another file with --out")
    demo = load_study(DEMO, {} if wishes.name is None else {"name": wishes.name}, options={"name": "--name"})
    # 1. Guess.
    with console.status("Looking at the images"):
        guesses = _guesses(data, wishes)
        chosen = wishes.positive if guesses.positive is None else list(guesses.positive.value)
        notes = Notes()
        opened = _opened(data, wishes, guesses, chosen, notes)
        models = choose_models(this_machine(demo))
    # 2. Write.
    text = _text(data, out, wishes, guesses, opened, models, notes)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8", newline="")
    # 3. Read it back as a run will.
    study = load_study(out)
    if opened is not None:
        _try_to_open(study, notes)
    _print(out, notes, console)


def choose_models(machine: Machine) -> Models:
    """The backbones that a machine can train: the full-size ones on a GPU, otherwise the miniatures."""
    full, others = load_study(PAPER), {}
    chosen = {}
    for choice in full.backbones:
        why_not = _obstacle(choice.open(), full, machine)
        if why_not is None:
            chosen[choice.name] = _source(choice.open())
        else:
            others[choice.name] = why_not
    if chosen:
        return Models(
            PAPER, chosen, others, f"The full-size models fit into the memory of this machine's {machine.name}."
        )
    names = [choice.name for choice in load_study(DEMO).backbones]
    why = (
        "Miniatures, which come with this project and need no download. They only show that a study runs: they have "
        "never seen a real eye, so draw no conclusion from their results."
    )
    return Models(DEMO, dict.fromkeys(names, "comes with this project"), others, why)


def _obstacle(backbone: backbones.Backbone, full: Study, machine: Machine) -> str | None:
    """Why a full-size backbone cannot be used here; None if it can."""
    if machine.device.type == "cpu":
        return "needs a GPU, and PyTorch finds none here"
    needed = max(memory(trial, 1, True, machine) for trial in trials_of(full) if trial.backbone.name == backbone.name)
    if needed > machine.memory:
        return f"needs {readable_bytes(needed)} of GPU memory, {machine.name} has {readable_bytes(machine.memory)}"
    hub = backbone.weights
    if hub is None or hub.cached():
        return None
    if constants.HF_HUB_OFFLINE:
        return f"its weights ({hub}) are not in the hub's cache, and HF_HUB_OFFLINE forbids the download"
    if (fault := hub_settings.fault()) is not None:
        return f"its weights ({hub}) are not in the hub's cache; {fault}"
    if hub.gated and not huggingface_hub.get_token():
        return f"gated: accept the terms on huggingface.co/{hub.repository} and set HF_TOKEN"
    return None


def _source(backbone: backbones.Backbone) -> str:
    assert backbone.weights is not None  # the full-size backbones are published
    cached = backbone.weights.cached() is not None
    return (
        "its weights are in the hub's cache" if cached else f"will be downloaded from huggingface.co/{backbone.weights}"
    )


def _guesses(data: Path, wishes: Wishes) -> Guesses:
    if not data.is_dir():
        return guess(read_columns(data), data, wishes.image_dir, wishes.positive)
    tables = sorted(file.name for file in data.iterdir() if file.suffix.lower() in (".csv", ".tsv", ".parquet"))
    try:
        names = class_names(data)
    except UserError as error:
        if not tables:
            raise
        raise UserError(
            f"{data}: is not a folder of classes; name its table: {', '.join(map(shown, tables))}"
        ) from error
    chosen = None if wishes.positive else positive_classes(names) if len(names) > 1 else None
    if chosen is None and not wishes.positive and len(names) > 1:  # folders 0 and 1
        chosen = Guess([names[-1]], "1 is the positive class")
    found = read_folder(data, wishes.positive or (None if chosen is None else list(chosen.value)))
    pattern = patient_pattern([listed.image for listed in found.listed])
    divided = all(listed.split for listed in found.listed)
    needed = not (divided and pattern.value == ONE_IMAGE_EACH)  # which is what a folder with splits means anyway
    remarks = [] if needed else ["Every image counts as another patient: set patient_pattern if this is wrong."]
    return Guesses({}, positive=chosen, patient_pattern=pattern if needed else None, remarks=remarks)


def _opened(data: Path, wishes: Wishes, guesses: Guesses, positive: list[str] | None, notes: Notes) -> Manifest | None:
    """The images as a study will read them; None, with notes, if the table has faults."""
    image_dir = Path(str(guesses.image_dir.value)) if guesses.image_dir else wishes.image_dir
    pattern = None if guesses.patient_pattern is None else str(guesses.patient_pattern.value)
    try:
        opened = open_manifest(data, image_dir, pattern, positive, _renamed(guesses), "eye", _kinds(guesses))
    except UserError as error:
        notes.fix += str(error).splitlines()
        return None
    notes.fix += opened.conflicts
    absent = [path for path in opened.images["path"] if not Path(path).is_file()]
    if absent:
        notes.fix.append(
            f"missing image files: {len(absent)} of {len(opened.images)}, the first: {absent[0]}; correct the names "
            "in the table, or cohort.image_dir"
        )
    counts, patients = opened.images, of_each_class(opened.images)
    notes.facts.append(
        f"{len(counts)} images of {counts['patient_id'].n_unique()} patients; {counts['label'].sum()} images of "
        f"{patients.positive} patients are positive."
    )
    notes.facts.append("All image files exist." if not absent else f"Missing image files: {len(absent)}.")
    notes.facts += [f"{line}." for line in opened.remarks() if not line.startswith("Classes")]
    return opened


def _try_to_open(study: Study, notes: Notes) -> None:
    """Note what would stop a run of the study although each row of the table is right, such as too few patients."""
    assert study.cohort.manifest is not None  # `init` always writes one
    try:
        open_cohort(study, study.cohort.manifest)
    except UserError as error:
        notes.fix += str(error).splitlines()


def _renamed(guesses: Guesses) -> dict[str, str]:
    return {column: str(each.value) for column, each in guesses.columns.items() if each.value != column}


def _kinds(guesses: Guesses) -> dict[str, Kind]:
    return dict.fromkeys(guesses.covariates.value, "auto") if guesses.covariates else {}


def _text(
    data: Path, out: Path, wishes: Wishes, guesses: Guesses, opened: Manifest | None, models: Models, notes: Notes
) -> str:
    name = wishes.name or data.resolve().stem
    schema = os.path.relpath(SCHEMA, out.resolve().parent) if ROOT in out.resolve().parents else str(SCHEMA)
    lines = [
        f"# yaml-language-server: $schema={schema}",
        *_comment(
            f"A first configuration for {shown(data.name)}, written by `init`. Correct what is wrong, above all the "
            f"lines marked {CHECK}. docs/own-study.md describes the keys."
        ),
        f"name: {_value(name)}",
        "",
        "cohort:",
        *_indented(_comment(" ".join(notes.facts) or "The table has faults, which `init` has printed.")),
        f"  manifest: {_value(_from(out, data))}",
        *_columns(guesses, notes),
        *_of_images(out, wishes, guesses, opened, notes),
        "",
        *_vessels(out, wishes, guesses, notes),
        "",
        *_models(models),
    ]
    return "\n".join(lines) + "\n"


def _columns(guesses: Guesses, notes: Notes) -> list[str]:
    lines = []
    for column, each in guesses.columns.items():
        notes.facts.append(f"{column}: column {shown(str(each.value))} ({each.why}).")
        if not each.sure:
            notes.check.append(f"cohort.columns.{column}: {shown(str(each.value))} ({each.why})")
        lines += _comment(f"{_mark(each)}{column} is the column {shown(str(each.value))}: {each.why}.")
    renamed = _renamed(guesses)
    if renamed:
        lines.append("columns:")
        lines += [f"  {column}: {_value(name)}" for column, name in renamed.items()]
    for remark in guesses.remarks:
        notes.facts.append(remark)
        lines += _comment(remark)
    others = [column for column in COLUMNS if guesses.columns and column not in guesses.columns]
    if others:
        lines += _comment(f"Not found, and not needed: {', '.join(others)}. If one exists, name it under columns.")
    return _indented(lines)


def _labels(opened: Manifest | None, notes: Notes) -> list[str]:
    """The key labels, if images of one patient have different labels."""
    if opened is None:
        return []
    mixed = opened.images.group_by("patient_id").agg(pl.col("label").n_unique()).filter(pl.col("label") > 1).height
    if not mixed:
        return []
    have = "patients have" if mixed > 1 else "patient has"
    why = f"{mixed} {have} images with different labels, so labels are read as those of eyes, not of patients"
    notes.check.append(f"cohort.labels: eye ({why})")
    return [*_comment(f"{CHECK}: {why}."), _key("labels", "eye")]


def _of_images(out: Path, wishes: Wishes, guesses: Guesses, opened: Manifest | None, notes: Notes) -> list[str]:
    """The keys image_dir, patient_pattern, positive, labels and covariates."""
    lines = []
    folder = guesses.image_dir
    if folder is not None:
        lines += [
            *_comment(f"image_dir: {folder.why}."),
            _key("image_dir", _from(out, Path(str(folder.value)))),
        ]
    elif wishes.image_dir is not None:
        lines.append(_key("image_dir", _from(out, wishes.image_dir)))
    for key, each in (("patient_pattern", guesses.patient_pattern), ("positive", guesses.positive)):
        if each is not None:
            stated = shown(", ".join(each.value) if isinstance(each.value, list) else each.value)
            notes.facts.append(f"{key}: {stated} ({each.why}).")
            if not each.sure:
                notes.check.append(f"cohort.{key}: {stated} ({each.why})")
            others = ""
            if key == "positive" and opened is not None and opened.classes is not None:
                others = f" All other classes are label 0: {shown(', '.join(opened.classes.negative))}."
            lines += [*_comment(f"{_mark(each)}{key}: {each.why}.{others}"), _key(key, each.value)]
    if wishes.positive is not None:
        lines.append(_key("positive", wishes.positive))
    lines += _labels(opened, notes)
    if guesses.covariates is not None:
        names = ", ".join(map(shown, guesses.covariates.value))
        notes.facts.append(f"covariates: {names} ({guesses.covariates.why}).")
        lines += [*_comment(f"covariates: {guesses.covariates.why}."), _key("covariates", guesses.covariates.value)]
    return _indented(lines)


def _vessels(out: Path, wishes: Wishes, guesses: Guesses, notes: Notes) -> list[str]:
    if {"artery_mask", "vein_mask"} <= set(guesses.columns) and wishes.vessel_weights is None:
        return ["vessels:", *_indented(_comment("The table names the masks of arteries and veins.")), "  source: masks"]
    why = "Artery and vein masks are made by W-Net, the smallest network. docs/vessels.md describes the others."
    lines = ["vessels:", *_indented(_comment(why)), "  source: wnet"]
    if wishes.vessel_weights is not None:
        return [*lines, f"  weights: {_value(_from(out, wishes.vessel_weights))}"]
    notes.fix.append(
        "vessels.weights: W-Net needs its weights (docs/vessels.md says where they are); name the file in the "
        "configuration, or with --vessel-weights"
    )
    return [
        *lines,
        *_indented(_comment(f"{CHECK}: name its weights, a .safetensors file.")),
        "  # weights: wnet.safetensors",
    ]


def _models(models: Models) -> list[str]:
    values = read_values(models.like)
    lines = [*_comment(models.why), "backbones:"]
    lines += [f"  - {_value(name)} # {why}" for name, why in models.chosen.items()]
    lines += [f"  # - {name} # {why}" for name, why in models.others.items()]
    lines += [
        "",
        *_comment(f"As in configs/{models.like.name}; docs/training.md describes the options."),
        "strategies:",
    ]
    lines += [f"  - {_value(each)}" for each in values["strategies"]]
    return [*lines, "", f"training: {_value(values['training'])}"]


def _print(out: Path, notes: Notes, console: Console) -> None:
    for line in notes.facts:
        console.print(escape(line))
    for title, colour, lines in (("Check", "yellow", notes.check), ("Before a run, fix", "red", notes.fix)):
        for line in lines:
            console.print(f"[{colour}]{title}:[/] {escape(line)}", soft_wrap=True)
    console.print(f"Configuration: [bold]{escape(str(out))}[/]", soft_wrap=True)
    console.print(f"Next: {COMMAND} --config {escape(str(out))} --dry-run", soft_wrap=True)


def _mark(guessed: Guess) -> str:
    return "" if guessed.sure else f"{CHECK}: "


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _key(key: str, value: Any) -> str:
    return f"{key}: {_value(value)}"


def _value(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return text.strip()[1:-1]


def _from(out: Path, path: Path) -> str:
    """A path as a configuration in `out` names it: relative if it lies below the folder of `out`."""
    folder, whole = out.resolve().parent, path.resolve()
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)
