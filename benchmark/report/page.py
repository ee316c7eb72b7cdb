"""leaderboard.html: one self-contained file with what the report stage computed.

The text and the layout are in `templates/leaderboard.html.j2`; this module converts numbers to text and to positions on
axes. The template escapes all text.
"""

import base64
import io
import mimetypes
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from benchmark.analysis.comparisons import TRIAL, TrialKey
from benchmark.analysis.flow import Box, flow_table
from benchmark.analysis.leaderboard import OK, Leaderboard
from benchmark.analysis.patients import ATTENTION, IMAGE, MAX, MEAN
from benchmark.analysis.planted import Planted
from benchmark.report import covariates
from benchmark.report.charts import spans
from benchmark.report.charts.colour_bar import colour_ramp
from benchmark.report.charts.curve_panels import benefit_gained, calibration_curves, decision_curves, roc_curves
from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.flow import flow_chart
from benchmark.report.charts.forest import auc_forest, ratio_forest
from benchmark.report.charts.quadrants import full_shade, quadrant_glyph, shade_key, shown_regions
from benchmark.report.charts.scatter import scatter
from benchmark.report.charts.spans import Span
from benchmark.report.conclusions import cautions, conclusions, planted_found, risk_stated
from benchmark.report.external_section import ExternalContent, external_sentences, external_view
from benchmark.report.readable import NOTHING, p_stated, p_value
from benchmark.report.results import ClassCount, PatientCounts
from benchmark.report.sections import SECTIONS, Section, with_links
from benchmark.study.folder import left_out_text
from benchmark.study.trials import safe
from benchmark.tables import csv_text
from xai.decoding import open_picture
from xai.examples import RULE

TEMPLATES = Path(__file__).resolve().parent / "templates"
LEFT_OUT_SHOWN = 50
PAIRS_SHOWN = 100
CONTROL_COLUMNS = ("vessel_ratio_fov_null", "vessel_ratio_fov_turned", "n_other", "parameter_randomisation", "n_erased")
CHANCES = "The thin tick is the vessel ratio of the same maps on other patients’ vessels: compare the ratio with it."
LEVEL_NAMES = {IMAGE: "images", MEAN: "patients, mean", MAX: "patients, maximum", ATTENTION: "patients, attention"}
_REGIONS = ("vessel", "artery", "vein")
# In a configuration: the key or dash before a value, and the folders of an absolute path.
_FOLDERS = re.compile(r"""^(\s*(?:- |[\w-]+: )+['"]?)/.*/""", re.MULTILINE)
_ACRONYMS = {"auc": "AUC", "f1": "F1", "vessel_ratio_fov": "vessel ratio in the field of view"}


@dataclass(frozen=True)
class PageContent:
    """Everything that the page shows.

    Attributes:
        title: the study's name.
        method: the name of the method that made the maps, as used in a sentence.
        notices: what a reader must know before any number; shown above everything else.
        board: the leaderboard; trials are shown in its order. The first row of a region in `ratios` has the conventions
            of the study; the first row of `correlation` becomes the sentence.
        failed_controls: (trial, control), as they are called -> why the control failed.
        published: cells of a published study to show next to the run's own, columns as those of
            `benchmark.analysis.published.trials()`.
        pictures: name of a trial (`benchmark.study.trials.Trial.name`) -> file of its mean map, if it has one.
        mean_image: the mean image to show next to them, or None.
        examples: trial -> its figures, each with its description.
        cohort: split, images, patients, positive (images), positive_patients; no patient is in two splits.
        left_out: image, split, reason.
        without_masks: test images without vessel masks: image, reason.
        facts: section -> key -> value.
        configuration: the text of study.yaml.
        confidence: of all intervals, 0.95 for 95 %.
        finished: when the report was made, ISO 8601.
        margin: two AUCs that differ by less count as equivalent.
        target_class: the class that the maps explain.
        classes: names of the classes by label, "0" and "1", or None.
        by_class: the images of every class, shown if there are more than two.
        of_patients: the eyes, visits and images that the patients of each split have.
        failed_attention: name of a trial -> why it has no attention over the images of a patient.
        files_left_out: for a folder cohort, how many files were not used, by reason.
        pages: trial -> the address of its own page, from this one.
        tops: name of a trial -> the value at the upper end of the colours of its mean map, where it is known.
        planted: for a synthetic study, where the signal is and where each measure places it.
        cohorts_page: address of the page over the external cohorts; empty if the study names none.
        external: for an external cohort, the run that trained the models, and the comparison with it.
        flow: the images and patients from the manifest to the analysis, or None.
        study_card: the address of the study card, from this page, or None.
    """

    title: str
    method: str
    notices: list[str]
    board: Leaderboard
    failed_controls: Mapping[tuple[str, str], str]
    published: pl.DataFrame | None
    pictures: Mapping[str, Path]
    mean_image: Path | None
    examples: Mapping[TrialKey, Sequence[tuple[Path, str]]]
    cohort: pl.DataFrame
    left_out: pl.DataFrame
    without_masks: pl.DataFrame
    facts: Mapping[str, Mapping[str, str]]
    configuration: str
    confidence: float
    finished: str
    margin: float = 0.03
    target_class: int = 1
    classes: Mapping[str, str] | None = None
    by_class: Sequence[ClassCount] = ()
    of_patients: Mapping[str, PatientCounts] = field(default_factory=dict)
    failed_attention: Mapping[str, str] = field(default_factory=dict)
    files_left_out: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[TrialKey, str] = field(default_factory=dict)
    tops: Mapping[str, float] = field(default_factory=dict)
    planted: Planted | None = None
    cohorts_page: str = ""
    external: ExternalContent | None = None
    flow: Box | None = None
    study_card: str | None = None


@dataclass(frozen=True)
class Axis:
    """The axis of intervals of one kind, with the reference value ("no effect") if there is one."""

    span: Span
    reference: float | None = None

    def place(self, value: float) -> float:
        """The position of a value in percent of the axis; values beyond the axis lie at its end."""
        (place,) = self.span.places(np.array([value]))
        return round(100 * float(np.clip(place, 0, 1)), 2)

    def labels(self) -> list[tuple[float, str]]:
        """(percent, text) of the ends and the reference; an end close to the reference has no label."""
        ends = [(0.0, f"{self.span.low:.2g}"), (100.0, f"{self.span.high:.2g}")]
        if self.reference is None:
            return ends
        middle = self.place(self.reference)
        return [(middle, f"{self.reference:g}"), *(end for end in ends if abs(end[0] - middle) >= 25)]


@dataclass(frozen=True)
class Measure:
    """A column of estimates with intervals."""

    name: str
    label: str
    kind: str
    digits: int
    axis: Axis
    signed: bool = False


def render(content: PageContent) -> str:
    """The page as HTML text with inline style, script and images, so that it opens offline and loads nothing.

    Trials, cells, backbones and strategies have the order of the leaderboard in every table and figure.
    """
    content = _ordered(content)
    board = content.board
    rows = board.trials.to_dicts()
    done = [row for row in rows if row["status"] == OK]
    regions = _regions(board.ratios)
    cells = [board.trials] if content.published is None else [board.trials, content.published]
    measures = _measures(pl.concat(cells, how="diagonal_relaxed"))
    conventions = _conventions(board.ratios)
    planted = None if content.planted is None or content.planted.trials.is_empty() else content.planted
    tables = {"leaderboard": board.trials} | board.tables() | ({"planted": planted.trials} if planted else {})
    tables |= content.external.tables.tables() if content.external else {}
    order = [tuple(row[name] for name in TRIAL) for row in done]
    first = external_sentences(content.external) if content.external else []
    tables |= {"flow": flow_table(content.flow)} if content.flow else {}
    no_saliency = pl.format("no vessel masks, so no saliency: {}", "reason").alias("reason")
    without_masks = content.without_masks.select("image", pl.lit("test").alias("split"), no_saliency)
    left_out = pl.concat([content.left_out, without_masks])
    return template("leaderboard.html.j2").render(
        PAIRS_SHOWN=PAIRS_SHOWN,
        sections=_sections(board),
        link=partial(_link, absent=set() if conventions else {"conventions"}),
        tables=embedded(tables),
        content=content,
        confidence=f"{100 * content.confidence:g}\N{NO-BREAK SPACE}%",
        conclusions=covariates.explained(board) + first + conclusions(board, content.margin),
        risk_stated=risk_stated(board),
        cautions=cautions(board),
        external=external_view(content.external, board.curves, order) if content.external else None,
        covariates=covariates.shown(board),
        planted=planted,
        planted_found=planted_found(planted) if planted else "",
        incomplete=any(row["n_ratio"] != row["n_images"] for row in done),
        done=done,
        failed=[row for row in rows if row["status"] != OK],
        several_seeds=board.trials["seed"].n_unique() > 1,
        measures=measures,
        discs=_discs(done),
        chances=CHANCES if any(row["vessel_ratio_null"] is not None for row in done) else "",
        erased=any(row["auc_drop_erased"] is not None for row in done),
        permuted=any(row["vessel_ratio_fov_null"] is not None for row in done),
        controlled=any(row[name] is not None for row in done for name in CONTROL_COLUMNS),
        other_class=any(row["n_other"] is not None for row in done),
        conventions=conventions,
        regions=regions,
        glyphs=_glyphs(regions),
        shade_key=shade_key(),
        colour_ramp=colour_ramp(),
        correlation=board.correlation.to_dicts(),
        charts=_charts(content),
        flow=flow_chart(content.flow) if content.flow else None,
        operating=_operating(board.operating),
        pairs=_pairs(board.comparisons),
        levels=board.patients.to_dicts(),
        level_names=LEVEL_NAMES,
        several_images=any(row["n_images"] > row["n_patients"] for row in done),
        patient_pairs=_patient_pairs(board.patient_pairs),
        seeds=_over_seeds(board.seeds),
        letters={
            (row["backbone"], row["strategy"], row["measure"]): row["group"]
            for row in board.averages.filter(family="cells").to_dicts()
        },
        averages={family: _averages(board.averages, family) for family in ("strategies", "backbones")},
        contrasts=_contrasts(board.contrasts),
        repeatability=board.repeatability.to_dicts(),
        published=[] if content.published is None else content.published.to_dicts(),
        published_measures=[replace(measure, digits=2) for measure in measures["convention"]],
        saliency=_saliency_rows(content),
        mean_image=_inline(content.mean_image) if content.mean_image else None,
        examples={
            f"{row['backbone']}, {row['strategy']}, seed {row['seed']}": [
                (_compressed(path), alt) for path, alt in found
            ]
            for row in rows
            if (found := content.examples.get((row["backbone"], row["strategy"], row["seed"]), ()))
        },
        rule=RULE,
        cohort=content.cohort.to_dicts(),
        configuration=_FOLDERS.sub(r"\1…/", content.configuration),
        failed_controls=[f"{', '.join(what)}: {reason}" for what, reason in content.failed_controls.items()],
        left_out=left_out.head(LEFT_OUT_SHOWN).to_dicts(),
        n_left_out=left_out.height,
        files_left_out=left_out_text(content.files_left_out) if content.files_left_out else "",
    )


def template(name: str) -> Template:
    """A template of `templates/`, with filters that convert numbers to text; all text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "sortable": _sortable,
        "signed": _signed,
        "interval": _interval,
        "p_value": p_value,
        "p_stated": p_stated,
        "words": _words,
        "breakable": _breakable,
        "with_links": with_links,
    }
    return environment.get_template(name)


def _link(address: str, heading: str, absent: Set[str]) -> Markup:
    text = "“{1}”" if address in absent else "“<a href='#{0}'>{1}</a>”"
    return Markup(text).format(address, heading)


def _sections(board: Leaderboard) -> dict[str, Section]:
    """The sections that a page can have; a comparison of averages is named by what is averaged."""
    averaged = not board.averages.filter(pl.col("family") != "cells").is_empty()
    heading = "Strategies and backbones" if averaged else SECTIONS["averages"].heading
    return SECTIONS | {"averages": SECTIONS["averages"]._replace(heading=heading)}


def _ordered(content: PageContent) -> PageContent:
    """The content with all rows of trials and cells in the order of the leaderboard."""
    cells = content.board.trials
    names = ("operating", "curves", "ratios", "seeds", "patients")
    ordered: dict[str, Any] = {name: in_order_of(cells, getattr(content.board, name)) for name in names}
    of_covariates = content.board.of_covariates
    if of_covariates is not None:
        of_trials = {name: table for name, table in of_covariates.tables().items() if TRIAL.keys() <= {*table.columns}}
        found = {name: in_order_of(cells, table) for name, table in of_trials.items()}
        ordered["of_covariates"] = replace(of_covariates, **found)
    board = replace(content.board, **ordered)
    planted = content.planted and replace(content.planted, trials=in_order_of(cells, content.planted.trials))
    return replace(content, board=board, planted=planted)


def in_order_of(cells: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of trials, or of cells where they have no seed, in the order of the leaderboard; others come last."""
    names = [name for name in TRIAL if name in rows.columns]
    places = cells.select(names).with_row_index("place").unique(names, keep="first")
    placed = rows.join(places, on=names, how="left", maintain_order="left")
    return placed.sort("place", nulls_last=True, maintain_order=True).drop("place")


def _measures(leaderboard: pl.DataFrame) -> dict[str, list[Measure]]:
    """The measures of the leaderboard, of the published convention, and inside the field of view.

    All ratios share one axis.
    """
    names = {suffix: [f"{region}_ratio{suffix}" for region in _REGIONS] for suffix in ("", "_fov")}
    axis = ratio_axis(leaderboard, names[""] + names["_fov"])
    ratios = {
        suffix: [
            Measure(name, region.capitalize(), region, 2, axis)
            for name, region in zip(names[suffix], _REGIONS, strict=True)
        ]
        for suffix in names
    }
    auc = auc_measure(leaderboard)
    f1 = Measure("f1", "F1", "prediction", 3, Axis(spans.linear([0, 1], step=1)))
    lost = spans.linear([-0.1, 0.5, *_bounds(leaderboard, ["auc_drop_erased"])], step=0.1)
    erasure = Measure(
        "auc_drop_erased", "AUC lost without vessels", "erasure", 3, Axis(lost, reference=0.0), signed=True
    )
    in_view = replace(ratios["_fov"][0], label="Vessel ratio, field of view")
    return {
        "main": [auc, erasure, in_view],
        "convention": [auc, f1, *ratios[""]],
        "fov_ratios": ratios["_fov"],
    }


def auc_measure(leaderboard: pl.DataFrame) -> Measure:
    axis = Axis(spans.linear([0.3, 1, *_bounds(leaderboard, ["auc"])], step=0.1), reference=0.5)
    return Measure("auc", "AUC", "prediction", 3, axis)


def ratio_axis(leaderboard: pl.DataFrame, names: list[str]) -> Axis:
    """One logarithmic axis for the intervals of all these columns, as in the forest plots."""
    return Axis(spans.of_ratios(_bounds(leaderboard, names)), reference=1.0)


def _discs(done: Sequence[Mapping[str, Any]]) -> str:
    """How many images could be aligned by their optic discs in the permutation tests; empty if all could."""
    counts = [(row["n_disc"], row["n_ratio"]) for row in done if row["n_disc"] is not None]
    if not counts or all(known >= images for known, images in counts):
        return ""
    known, images = min(counts)
    return "no image has" if known == 0 else f"only {known} of {images} images have"


def _charts(content: PageContent) -> dict[str, list[Chart]]:
    """The charts by their place on the page."""
    cells, curves = content.board.trials, content.board.curves
    at_a_glance = [auc_forest(cells), ratio_forest(cells), ratio_forest(cells, "_fov")]
    against = [scatter(cells, "vessel_ratio", content.published), scatter(cells, "vessel_ratio_fov")]
    return {
        "forest": [chart for chart in at_a_glance if chart],
        "scatter": [chart for chart in against if chart],
        "roc": roc_curves(curves, cells),
        "calibration": calibration_curves(curves, cells),
        "decision": decision_curves(curves, cells),
        "gained": benefit_gained(curves, cells),
    }


def _operating(operating: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per trial and operating point, with the value and the bounds of each measure as columns."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in operating.to_dicts():
        key = tuple(row[name] for name in (*TRIAL, "point"))
        found = rows.setdefault(key, {name: row[name] for name in (*TRIAL, "point", "threshold")})
        measure = row["measure"]
        found |= {measure: row["value"], f"{measure}_low": row["low"], f"{measure}_high": row["high"]}
    return list(rows.values())


def _pairs(comparisons: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per pair of trials, smallest p-value of AUC first; `auc` and `vessel_ratio_fov` have its comparisons."""
    names = [f"{name}_{side}" for side in "ab" for name in TRIAL]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in comparisons.filter(pl.col("measure").is_in(["auc", "vessel_ratio_fov"])).to_dicts():
        key = tuple(row[name] for name in names)
        rows.setdefault(key, {name: row[name] for name in names})[row["measure"]] = row
    return sorted(rows.values(), key=lambda row: (row["auc"]["p_value"] is None, row["auc"]["p_value"]))


def _patient_pairs(pairs: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per pair of trials by their mean scores of patients, smallest p-value first."""
    return pairs.filter(level=MEAN).sort("p_value", nulls_last=True, maintain_order=True).to_dicts()


def _over_seeds(seeds: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per cell; `auc` and the vessel ratios have the means over seeds."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in seeds.to_dicts():
        key = (row["backbone"], row["strategy"])
        rows.setdefault(key, {name: row[name] for name in ("backbone", "strategy", "n_seeds")})[row["measure"]] = row
    return list(rows.values())


def _averages(averages: pl.DataFrame, family: str) -> list[dict[str, Any]]:
    """One row per level of a family, highest AUC first, with the mean of each measure by name."""
    rows: dict[tuple[str | None, str | None], dict[str, Any]] = {}
    for row in averages.filter(family=family).to_dicts():
        rows.setdefault((row["backbone"], row["strategy"]), {"any": row})[row["measure"]] = row
    return sorted(rows.values(), key=lambda row: -row["auc"]["mean"] if "auc" in row else 0)


def _contrasts(contrasts: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per pair of levels; `auc` and the ratios have its comparisons."""
    names = ("family", "backbone_a", "strategy_a", "backbone_b", "strategy_b")
    rows: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for row in contrasts.to_dicts():
        found = rows.setdefault(tuple(row[name] for name in names), {"any": row, "family": row["family"]})
        for side in "ab":
            found[side] = ", ".join(part for part in (row[f"backbone_{side}"], row[f"strategy_{side}"]) if part)
        found[row["measure"]] = row
    return list(rows.values())


def _conventions(ratios: pl.DataFrame) -> dict[str, dict[TrialKey, dict[str, Any]]]:
    """The vessel ratio of every trial with one convention changed at a time, by heading; the first has no change."""
    vessel = ratios.filter(pl.col("region") == "vessel")
    if vessel.is_empty():
        return {}
    own = {"against": "non_vessel", "scaling": vessel["scaling"][0], "average": "images", "images": "all"}
    other = "raw" if own["scaling"] == "minmax" else "minmax"
    changes: dict[str, dict[str, str]] = {
        "As above": {},
        "Inside the field of view": {"against": "non_vessel_fov"},
        f"{'Raw' if other == 'raw' else 'Min-max'} maps": {"scaling": other},
        "Every patient alike": {"average": "patients"},
        "Ratio of sums": {"average": "sums"},
        "Geometric mean": {"average": "geometric"},
        "Without doubtful masks": {"images": "unflagged"},
    }
    found = {heading: vessel.filter(**{**own, **changed}) for heading, changed in changes.items()}
    return {heading: _by_cell(rows) for heading, rows in found.items() if len(rows)}


def _regions(ratios: pl.DataFrame) -> dict[str, dict[TrialKey, dict[str, Any]]]:
    """For each region other than artery and vein, the mean ratio to the field of view of every trial."""
    others = ratios.filter(against="fov", average="images")
    return {str(region): _by_cell(group) for (region,), group in others.group_by("region", maintain_order=True)}


def _glyphs(regions: Mapping[str, Mapping[TrialKey, Mapping[str, Any]]]) -> tuple[float, dict[TrialKey, Markup]]:
    """The ratio of the full shade, and one glyph per trial."""
    shown = {name: regions[name] for name in shown_regions(regions)}
    top = full_shade(row["ratio"] for by_cell in shown.values() for row in by_cell.values())
    keys = dict.fromkeys(key for by_cell in shown.values() for key in by_cell)
    return top, {
        key: quadrant_glyph(
            {name: by_cell.get(key) for name, by_cell in shown.items()}, "{}, {}, seed {}".format(*key), top
        )
        for key in keys
    }


def _by_cell(ratios: pl.DataFrame) -> dict[TrialKey, dict[str, Any]]:
    return {(row["backbone"], row["strategy"], row["seed"]): row for row in ratios.to_dicts()}


def _bounds(leaderboard: pl.DataFrame, names: list[str]) -> list[float]:
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high", f"{name}_null")]
    columns = [column for column in columns if column in leaderboard.columns]
    return [value for column in columns for value in leaderboard[column].drop_nulls().drop_nans()]


def _saliency_rows(content: PageContent) -> list[dict[str, Any]]:
    """One row of maps per backbone and seed, with a map or None for each strategy; both in leaderboard order."""
    cells = content.board.trials
    strategies = cells["strategy"].unique(maintain_order=True)
    rows = []
    for (backbone, seed), group in cells.group_by("backbone", "seed", maintain_order=True):
        by_strategy = {cell["strategy"]: cell for cell in group.to_dicts()}
        pictures = []
        for strategy in (name for name in strategies if name in by_strategy):
            name = f"{safe(str(backbone))}-{strategy}-s{seed}"
            path = content.pictures.get(name)
            source = _inline(path) if path else None
            pictures.append({"cell": by_strategy[strategy], "source": source, "top": content.tops.get(name)})
        rows.append({"backbone": backbone, "seed": seed, "pictures": pictures})
    return rows


def embedded(tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """File name -> the CSV as a data: address, so that the tables travel with the page."""
    return {f"{name}.csv": _address("text/csv", csv_text(table).encode()) for name, table in tables.items()}


def _inline(path: Path) -> str:
    """An image file as a data: address."""
    return _address(mimetypes.guess_type(path.name)[0] or "image/png", path.read_bytes())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _compressed(path: Path) -> str:
    """A figure as a data: address of a fifth of its size; the file in the run directory has full quality."""
    file = io.BytesIO()
    open_picture(path).convert("RGB").save(file, "WEBP", quality=80)
    return _address("image/webp", file.getvalue())


def _number(value: float | None, digits: int = 0) -> str:
    if value is None:
        return NOTHING
    if value == float("inf"):  # a threshold that no score reaches
        return "∞"
    value = round(value, digits) or 0  # no minus sign before zero
    return f"{value:,.{digits}f}".replace("-", "−").replace(",", "\N{NARROW NO-BREAK SPACE}")


def _sortable(value: float) -> str:
    """A number in the form that the script of the page reads."""
    return "Infinity" if value == float("inf") else str(value)


def _signed(value: float | None, digits: int = 0) -> str:
    """A difference, with a plus sign if it is positive."""
    return f"+{_number(value, digits)}" if value is not None and round(value, digits) > 0 else _number(value, digits)


def _interval(row: Mapping[str, Any], name: str, digits: int, joined: str = "–") -> str:
    low, high = (row[f"{name}_low"], row[f"{name}_high"]) if name else (row["low"], row["high"])
    if low is None or high is None:
        return NOTHING
    joined = " to " if low < 0 else joined  # a dash next to a minus sign misleads
    return f"{_number(low, digits)}{joined}{_number(high, digits)}"


def _words(name: str) -> str:
    """The name of a column as used in a sentence."""
    return _ACRONYMS.get(name, name.replace("_", " "))


def _breakable(name: str) -> Markup:
    """A name that may be broken after its punctuation."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[_.:/-])", name) if part)
