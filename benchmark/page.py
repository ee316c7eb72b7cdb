"""leaderboard.html: one self-contained file from what the report stage computed.

Everything that is said and shown lies in `templates/leaderboard.html.j2`; here numbers become text and places on an
axis. The template escapes all text.
"""

import base64
import io
import math
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from benchmark.cells import safe
from benchmark.leaderboard import OK
from finetune.strategies import STRATEGIES
from xai.examples import RULE

TEMPLATES = Path(__file__).resolve().parent / "templates"
NOTHING = "–"
LEFT_OUT_SHOWN = 50
CONTROL_COLUMNS = ("vessel_ratio_fov_null", "model_null", "n_erased")
_REGIONS = ("vessel", "artery", "vein")
_ACRONYMS = {"auc": "AUC", "f1": "F1"}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

CellKey = tuple[str, str, int]  # backbone, strategy, seed


@dataclass(frozen=True)
class PageContent:
    """Everything the page shows.

    Attributes:
        title: the study's name.
        method: what made the maps, as it is called in a sentence.
        notices: what a reader must know before any number; shown above everything else.
        leaderboard: one row a cell in the order to be shown, columns as `benchmark.leaderboard.SCHEMA`; `status` is
            "ok", or the reason why the cell failed.
        ratios: columns as `benchmark.ratios.SCHEMA`; the first row of a region has the study's own conventions.
        failed_controls: one line each.
        correlation: columns as `benchmark.leaderboard.CORRELATION_SCHEMA`; the first row is told first.
        pictures: cell name (`benchmark.cells.Cell.name`) -> mean Grad-CAM; cells may lack one.
        photograph: the mean photograph to show beside them, where there is one.
        examples: cell, as it is called -> its figures, each with what it shows in words.
        cohort: split, images, people, positive; no person is in two splits.
        left_out: image, split, reason.
        facts: section -> key -> value.
        configuration: the text of study.yaml.
        confidence: of all intervals, 0.95 for 95 %.
    """

    title: str
    method: str
    notices: list[str]
    leaderboard: pl.DataFrame
    ratios: pl.DataFrame
    failed_controls: list[str]
    correlation: pl.DataFrame
    pictures: Mapping[str, Path]
    photograph: Path | None
    examples: Mapping[str, Sequence[tuple[Path, str]]]
    cohort: pl.DataFrame
    left_out: pl.DataFrame
    facts: Mapping[str, Mapping[str, str]]
    configuration: str
    confidence: float


@dataclass(frozen=True)
class Axis:
    """The scale that intervals of one kind are drawn along, with the value that means "none" where there is one."""

    low: float
    high: float
    reference: float | None = None

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def labels(self) -> list[tuple[float, str]]:
        """(percent, text): the ends and the reference; an end gives way to a reference close by."""
        ends = [(0.0, f"{self.low:g}"), (100.0, f"{self.high:g}")]
        if self.reference is None:
            return ends
        middle = self.place(self.reference)
        return [(middle, f"{self.reference:g}"), *(end for end in ends if abs(end[0] - middle) >= 20)]


@dataclass(frozen=True)
class Measure:
    """A column of estimates with intervals."""

    name: str
    label: str
    kind: str
    digits: int
    axis: Axis


def render(content: PageContent) -> str:
    """The page as HTML text: inline style, script and pictures, so that it opens offline and loads nothing."""
    rows = content.leaderboard.fill_nan(None).to_dicts()
    done = [row for row in rows if row["status"] == OK]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "signed": _signed,
        "interval": _interval,
        "p_value": _p_value,
        "words": _words,
        "breakable": _breakable,
    }
    return environment.get_template("leaderboard.html.j2").render(
        content=content,
        confidence=f"{100 * content.confidence:g}\N{NO-BREAK SPACE}%",
        done=done,
        failed=[row for row in rows if row["status"] != OK],
        several_seeds=content.leaderboard["seed"].n_unique() > 1,
        measures=_measures(content.leaderboard),
        controlled=any(row[name] is not None for row in done for name in CONTROL_COLUMNS),
        conventions=_conventions(content.ratios),
        regions=_regions(content.ratios),
        correlation=content.correlation.fill_nan(None).to_dicts(),
        saliency=_saliency_rows(content),
        photograph=_inline(content.photograph) if content.photograph else None,
        examples={
            cell: [(_compressed(path), alt) for path, alt in figures] for cell, figures in content.examples.items()
        },
        rule=RULE,
        cohort=content.cohort.to_dicts(),
        left_out=content.left_out.head(LEFT_OUT_SHOWN).to_dicts(),
    )


def _measures(leaderboard: pl.DataFrame) -> dict[str, list[Measure]]:
    """Prediction, ratios against all non-vessel, and ratios inside the field of view; all ratios on one axis."""
    prediction = [
        Measure("auc", "AUC", "prediction", 3, Axis(_floor([0.3, *_bounds(leaderboard, ["auc"])]), 1.0, reference=0.5)),
        Measure("f1", "F1", "prediction", 3, Axis(0.0, 1.0)),
    ]
    names = {suffix: [f"{region}_ratio{suffix}" for region in _REGIONS] for suffix in ("", "_fov")}
    around = [0.9, 1.1, *_bounds(leaderboard, names[""] + names["_fov"])]
    axis = Axis(_floor(around), _ceil(around), reference=1.0)
    ratios = {
        suffix: [
            Measure(name, region.capitalize(), region, 2, axis)
            for name, region in zip(names[suffix], _REGIONS, strict=True)
        ]
        for suffix in names
    }
    return {"prediction": prediction, "ratios": ratios[""], "fov_ratios": ratios["_fov"]}


def _conventions(ratios: pl.DataFrame) -> dict[str, dict[CellKey, dict[str, Any]]]:
    """By heading, the vessel ratio of every cell with one convention changed at a time; the first has none changed."""
    vessel = ratios.filter(pl.col("region") == "vessel")
    if vessel.is_empty():
        return {}
    own = {"against": "non_vessel", "scaling": vessel["scaling"][0], "average": "images"}
    other = "raw" if own["scaling"] == "minmax" else "minmax"
    changes: dict[str, dict[str, str]] = {
        "As above": {},
        "Inside the field of view": {"against": "non_vessel_fov"},
        f"{'Raw' if other == 'raw' else 'Min-max'} maps": {"scaling": other},
        "Every person alike": {"average": "people"},
        "Ratio of sums": {"average": "sums"},
    }
    return {heading: _by_cell(vessel.filter(**{**own, **changed})) for heading, changed in changes.items()}


def _regions(ratios: pl.DataFrame) -> dict[str, dict[CellKey, dict[str, Any]]]:
    """By region beyond artery and vein, every cell's mean of its images' ratios to the field of view."""
    others = ratios.filter(against="fov", average="images")
    return {str(region): _by_cell(group) for (region,), group in others.group_by("region", maintain_order=True)}


def _by_cell(ratios: pl.DataFrame) -> dict[CellKey, dict[str, Any]]:
    return {(row["backbone"], row["strategy"], row["seed"]): row for row in ratios.fill_nan(None).to_dicts()}


def _bounds(leaderboard: pl.DataFrame, names: list[str]) -> list[float]:
    columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    return [value for column in columns for value in leaderboard[column].drop_nulls().drop_nans()]


def _floor(values: list[float]) -> float:
    # Rounded first: 10 * 1.1 is a little more than 11.
    return math.floor(round(10 * min(values), 6)) / 10


def _ceil(values: list[float]) -> float:
    return math.ceil(round(10 * max(values), 6)) / 10


def _saliency_rows(content: PageContent) -> list[dict[str, Any]]:
    """One row of pictures for each backbone and seed, one picture or None for each strategy."""
    cells = content.leaderboard.fill_nan(None).sort("backbone", "seed")
    order = list(STRATEGIES)
    strategies = sorted(
        set(cells["strategy"]), key=lambda name: (order.index(name) if name in order else len(order), name)
    )
    rows = []
    for (backbone, seed), group in cells.group_by("backbone", "seed", maintain_order=True):
        by_strategy = {cell["strategy"]: cell for cell in group.to_dicts()}
        pictures = []
        for strategy in (name for name in strategies if name in by_strategy):
            path = content.pictures.get(f"{safe(str(backbone))}-{strategy}-s{seed}")
            pictures.append({"cell": by_strategy[strategy], "source": _inline(path) if path else None})
        rows.append({"backbone": backbone, "seed": seed, "pictures": pictures})
    return rows


def _inline(path: Path) -> str:
    """A picture file as a data: address."""
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _compressed(path: Path) -> str:
    """A figure as a data: address of a fifth of its size; the file beside the page has every pixel."""
    file = io.BytesIO()
    with Image.open(path) as figure:
        figure.convert("RGB").save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _number(value: float | None, digits: int = 0) -> str:
    if value is None:
        return NOTHING
    value = round(value, digits) or 0  # no minus before a zero
    return f"{value:,.{digits}f}".replace("-", "−").replace(",", "\N{NARROW NO-BREAK SPACE}")


def _signed(value: float | None, digits: int = 0) -> str:
    """A difference: with a plus where it is one."""
    return f"+{_number(value, digits)}" if value is not None and round(value, digits) > 0 else _number(value, digits)


def _interval(row: Mapping[str, Any], name: str, digits: int, joined: str = "–") -> str:
    low, high = (row[f"{name}_low"], row[f"{name}_high"]) if name else (row["low"], row["high"])
    return NOTHING if low is None or high is None else f"{_number(low, digits)}{joined}{_number(high, digits)}"


def _p_value(value: float | None) -> str:
    """Three decimals; below 0.001 two significant digits, since an exact p-value is not merely small."""
    if value is None:
        return NOTHING
    if value >= 0.001:
        return f"{value:.3f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _words(name: str) -> str:
    """A column's name as it is said in a sentence."""
    return _ACRONYMS.get(name, name.replace("_", " "))


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after its punctuation."""
    return Markup("<wbr>").join(part for part in re.split(r"(?<=[_.:/-])", name) if part)
