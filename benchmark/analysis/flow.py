"""The flow of images and patients from the manifest to the analysis, as boxes of a flow diagram (STARD 2015, item 19).

Every box is the sum of what is left out of it and of the boxes below it, for images and for patients. A patient counts
as left out when none of the patient's images remains.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import polars as pl

from benchmark.analysis.leaderboard import read_saliency
from benchmark.storage.rundir import RunDirectory
from benchmark.study.manifest import SPLITS
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_csv, read_parquet
from xai.saliency import OUTSIDE

NO_SCORE = "no score"
NO_MAP, NO_RATIO = "map without a positive value", "no vessels, or no saliency elsewhere"
_LISTED = {"image": pl.String, "patient_id": pl.String, "label": pl.Int64}
TABLE: dict[str, type[pl.DataType]] = {
    "box": pl.String,
    "below": pl.String,  # the box above it
    "left_out": pl.Boolean,
    "reason": pl.String,  # null: all reasons together
    **dict.fromkeys(("images", "patients", "positive", "positive_patients"), pl.Int64),
}


@dataclass(frozen=True)
class Counts:
    """Images, patients, positive images, and patients with a positive image; None: files of unknown patients."""

    images: int
    patients: int | None = None
    positive: int | None = None
    positive_patients: int | None = None

    def without(self, kept: "Counts") -> "Counts":
        """What is left out if only `kept`, a part of these images, remains."""
        after = asdict(kept)
        less = {name: None if count is None else count - after[name] for name, count in asdict(self).items()}
        return Counts(**less)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LeftOut:
    """What is left out of a box; the images of all `reasons` add up to its images."""

    name: str
    counts: Counts
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class Box:
    """A step of the flow: `found` (files of a folder), `drawn` or `listed`, `used`, `train`, `val`, `test`, `scored`,
    `masked` or `explained`.

    Attributes:
        left_out: what is not in any of `parts`.
        parts: the boxes below it.
        repeated: how many of its images have the same pixels as another image of their split; they are not left out.
    """

    name: str
    counts: Counts
    left_out: LeftOut | None = None
    parts: Sequence["Box"] = field(default_factory=tuple)
    repeated: int = 0


def read_flow(directory: RunDirectory, finished: Sequence[Trial], *, drawn: bool = False) -> Box:
    """The flow of a run whose explain stage is complete.

    Args:
        finished: the trials with results; the last boxes have the images that all of them scored and explained.
        drawn: whether the cohort is synthetic.
    """
    prepared = directory.completed("prepare") or {}
    cohort = read_parquet(directory.cohort)
    rejected = read_csv(directory.rejected, infer_schema=False).cast({"label": pl.Int64})
    test = of_split(cohort, "test")
    tested = [
        _tested(
            read_parquet(directory.trial(trial).predictions).filter(split="test"),
            read_saliency(directory.trial(trial), test),
        )
        for trial in finished
    ]
    unmasked = read_parquet(directory.vessels).filter(pl.col("error").is_not_null()).select("image", reason="error")
    files = prepared.get("left_out") or {}
    return flow_of(
        cohort, rejected, unmasked, tested, drawn=drawn, files_left_out=files, repeated=prepared.get("repeated") or 0
    )


def flow_of(
    cohort: pl.DataFrame,
    rejected: pl.DataFrame,
    unmasked: pl.DataFrame,
    tested: Sequence[pl.DataFrame],
    *,
    drawn: bool = False,
    files_left_out: Mapping[str, int] | None = None,
    repeated: int = 0,
) -> Box:
    """The flow from its tables.

    Args:
        cohort: image, patient_id, label, split of the accepted images; no patient is in two splits.
        rejected: image, patient_id, label, reason of the unusable images.
        unmasked: image, reason of the test images without vessel masks.
        tested: for each trial with results: image, mapped (whether its map has a value), ratio (whether it has a ratio
            of the vessels to the rest) of the test images that it scored.
        drawn: whether the cohort is synthetic.
        files_left_out: for a folder cohort, how many files are not used, by reason.
        repeated: how many of the accepted images have the same pixels as another.
    """
    rows = cohort.select(*_LISTED).cast(_LISTED)  # type: ignore[arg-type]
    listed = pl.concat([rows, rejected.select(*_LISTED).cast(_LISTED)])  # type: ignore[arg-type]
    splits = [(split, rows.join(of_split(cohort, split), on="image", how="semi")) for split in SPLITS]
    parts = [
        _test(images, unmasked, tested) if split == "test" else Box(split, _counts(images))
        for split, images in splits
        if len(images)
    ]
    used = Box("used", _counts(rows), parts=parts, repeated=repeated)
    whole = _narrowed("drawn" if drawn else "listed", listed, used, "unusable", rejected["reason"])
    if not files_left_out:
        return whole
    files = sum(files_left_out.values())
    found = LeftOut("files", Counts(files), _most_frequent(files_left_out))
    return Box("found", Counts(files + len(listed)), found, [whole])


def boxes(box: Box) -> Iterator[Box]:
    """The box and all boxes below it."""
    yield box
    for part in box.parts:
        yield from boxes(part)


def flow_table(box: Box) -> pl.DataFrame:
    """The flow as `flow.csv`: one row per box, per group that is left out, and per reason; columns as `TABLE`."""
    return pl.DataFrame(list(_rows(box, None)), schema=TABLE)


def kind_of(reason: str) -> str:
    """The kind of a reason, for counting: without names of files, numbers of pixels, and advice."""
    prefix, parts = "", re.split(r": |; ", re.sub(r"\s*\([^()]*\)", "", reason))
    for place, part in enumerate(parts):
        text = re.sub(r"(^|\s)\S*/\S*", "", part).strip()  # without paths
        if not text or re.search(r"\.\w{2,5}$", text) or re.fullmatch(r"\d+x\d+ pixels", text):
            continue
        if " " in text or place == len(parts) - 1:
            return prefix + text
        if re.fullmatch(r"DICOM|\w+_mask", text):
            prefix = f"{text}: "
    return f"{prefix}another reason"


def _test(images: pl.DataFrame, unmasked: pl.DataFrame, tested: Sequence[pl.DataFrame]) -> Box:
    """The test images, and how many of them remain in each analysis; without trials, nothing is analysed."""
    if not tested:
        return Box("test", _counts(images))
    scored = _kept(images, [each["image"] for each in tested])
    masked = scored.join(unmasked, on="image", how="anti")
    explained = _kept(masked, [each.filter("ratio")["image"] for each in tested])
    mapped = _kept(masked, [each.filter("mapped")["image"] for each in tested])
    maps, ratios = len(masked) - len(mapped), len(mapped) - len(explained)
    why = [NO_MAP] * maps + [NO_RATIO] * ratios
    below = _narrowed("masked", masked, Box("explained", _counts(explained)), "unexplained", why)
    reasons = unmasked.join(scored, on="image", how="semi")["reason"]
    below = _narrowed("scored", scored, below, "unmasked", reasons)
    return _narrowed("test", images, below, "unscored", [NO_SCORE] * (len(images) - len(scored)))


def _narrowed(name: str, images: pl.DataFrame, below: Box, left_out: str, reasons: Iterable[str]) -> Box:
    """A box of which only the images of the box `below` remain."""
    before = _counts(images)
    gone = before.without(below.counts)
    kinds: dict[str, int] = {}
    for kind in map(kind_of, reasons):
        kinds[kind] = kinds.get(kind, 0) + 1
    return Box(name, before, LeftOut(left_out, gone, _most_frequent(kinds)) if gone.images else None, [below])


def _tested(predictions: pl.DataFrame, saliency: pl.DataFrame) -> pl.DataFrame:
    """The images that a trial scored, with `mapped` and `ratio` as in `flow_of`."""
    found = saliency.select(
        "image", mapped=pl.col(OUTSIDE).is_not_null(), ratio=pl.col("vessel_ratio").is_not_null()
    ).with_columns(mapped=pl.col("mapped") | pl.col("ratio"))
    scored = predictions.filter(pl.col("score").is_not_null()).select("image")
    return scored.join(found, on="image", how="left").with_columns(pl.col("mapped", "ratio").fill_null(value=False))


def _kept(images: pl.DataFrame, names: Iterable[pl.Series]) -> pl.DataFrame:
    """The images that are among all of `names`."""
    for of_trial in names:
        images = images.join(of_trial.to_frame("image"), on="image", how="semi")
    return images


def _counts(images: pl.DataFrame) -> Counts:
    positive = images.filter(label=1)
    return Counts(len(images), images["patient_id"].n_unique(), len(positive), positive["patient_id"].n_unique())


def _most_frequent(reasons: Mapping[str, int]) -> dict[str, int]:
    """The reasons, most frequent first."""
    return dict(sorted(reasons.items(), key=lambda each: (-each[1], each[0])))


def _rows(box: Box, above: str | None) -> Iterator[dict[str, object]]:
    yield {"box": box.name, "below": above, "left_out": False, **asdict(box.counts)}
    if box.left_out is not None:
        gone = {"box": box.left_out.name, "below": box.name, "left_out": True}
        yield gone | asdict(box.left_out.counts)
        for reason, images in box.left_out.reasons.items():
            yield gone | {"reason": reason, "images": images}
    for part in box.parts:
        yield from _rows(part, box.name)
